// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package engine is the contract of everything a request can reach: the secret
// kinds (engine/kv, engine/cubbyhole, ...) and the server's own paths
// (engine/sys, engine/token). Engines see sealed space, never the store.
package engine

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// Request is one request, as an engine sees it: it has passed the gate.
type Request struct {
	ID      string                     // request id
	Op      policy.Capability          // what is wanted: read, list, create, update, patch, delete
	Mount   string                     // where the engine is mounted: "secret/"
	Path    string                     // below the mount: "data/app/db"
	Data    map[string]json.RawMessage // the body's top-level fields, byte-exact; query parameters of reads as JSON strings
	Body    io.Reader                  // the raw body, only for paths the engine declared as streaming
	Query   map[string][]string
	Subject *auth.Subject       // nil only on unauthenticated paths
	Token   string              // the clear token: for fixed engines only (sys, token, api)
	Basic   *Basic              // of a Basic authorization: for fixed engines only; nil: there was none
	Remote  string              // peer address without port, or "unix"
	Peer    []*x509.Certificate // what the connection has shown, the holder's first: its key was proved, nothing else
	Now     time.Time           // the store's clock
	Creates bool                // a write: the caller may also make what is not there
	WrapTTL time.Duration       // how long the answer will be wrapped; 0: not at all
	Rights  policy.Set          // what the caller may do, by paths as they are here
}

// Basic is the name and the secret of an HTTP Basic authorization.
type Basic struct{ Name, Secret string }

// Response is an engine's answer. nil means "nothing there" for reads and lists
// (404) and "done" for writes (204).
type Response struct {
	Status   int               // 0: the usual one (200; 204 where Data is nil)
	Data     any               // marshalled as "data" (or bare); json.RawMessage is kept byte-exact
	Bare     bool              // answer Data itself, without the envelope
	Flat     bool              // repeat Data's keys at the top level of the envelope
	Raw      []byte            // not JSON: the body itself, with Header["Content-Type"]
	Stream   io.ReadCloser     // not JSON and large: the body itself; whoever sends it closes it
	Header   map[string]string // extra response headers
	Warnings []string
	Secret   *Secret         // a lease the engine has begun; the gate activates it
	Auth     *auth.Granted   // a token was issued
	Renewed  bool            // Auth and Secret were there before: not taken back where the answer fails
	Duration time.Duration   // lease_duration shown without a lease (KV v1's refresh hint)
	Wrapped  json.RawMessage // unwrap: the stored answer, to be sent verbatim
	Wrap     *Wrap           // rewrap: the answer stays stored, under this new token
	Accessor string          // of what Data hands out, for whoever gets it wrapped
}

// Secret says how what was handed out is taken back (see package lease).
type Secret struct {
	LeaseID   string
	TTL       time.Duration
	Renewable bool
}

// statusError is an error that is answered with another HTTP status than its
// kind's.
type statusError struct {
	error
	status int
}

// Unwrap returns the error itself.
func (e statusError) Unwrap() error { return e.error }

// WithStatus returns err with the HTTP status /v1 answers it with: for the few
// errors that clients tell by a status their kind does not have.
func WithStatus(err error, status int) error { return statusError{err, status} }

// StatusOf is the status err was given by WithStatus, or 0.
func StatusOf(err error) int {
	var e statusError
	if errors.As(err, &e) {
		return e.status
	}
	return 0
}

// Engine serves the paths below one mount.
type Engine interface {
	// Handle answers one request. Errors carry a fault.Kind.
	Handle(ctx context.Context, req *Request) (*Response, error)
	// Exists says whether a write to path would be an update (true) or a create.
	// An engine that does not tell the two apart returns true.
	Exists(ctx context.Context, path string) (bool, error)
	// Special lists the paths that need special treatment.
	Special() Special
}

// Renewer is an auth method that is asked, before a token it gave is renewed,
// whether the login would still be good.
type Renewer interface {
	// Renew returns the lifetimes the token may have now. req is the renewal, at
	// auth/token/; was is the token, with what the method kept in Private at the
	// login. An error (fault.Denied, fault.Invalid) refuses.
	Renew(ctx context.Context, req *Request, was *auth.Info) (auth.Terms, error)
}

// Special names paths (relative to the mount) the gate treats differently. A
// trailing "*" matches any rest, "+" one segment.
type Special struct {
	Open      []string // no token needed (sys/seal-status, sys/unseal, ...)
	Sudo      []string // "sudo" is needed on top of the capability
	Sealed    []string // also served while sealed
	Streaming []string // the body is passed on unread
	Pure      []string // reads and lists here change nothing: one audit record is enough
	Still     []string // writes here change nothing where Exists says that there is something: likewise
	Routes    []Route  // what can be reached, for help and OpenAPI; nil: nobody is told
}

// Wrappable reports whether an answer may be kept for later: it says something,
// is no error, and is not an answer that was just unwrapped.
func (r *Response) Wrappable() bool {
	return r != nil && r.Status < 400 && !r.Bare && r.Raw == nil && r.Stream == nil && r.Wrapped == nil && r.Wrap == nil &&
		(r.Data != nil || r.Auth != nil || r.Secret != nil)
}
