// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package api is the /api/v1 door: Goldkeep's own nouns over HTTP and JSON. The
// list of operations in operations.go is all there is: routes, access rules and
// the OpenAPI document are made from it. Behind the HTTP handler every request
// walks through the gate like those of /v1.
package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/audit"
	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/gate"
	"github.com/goldkeep/goldkeep/internal/identity"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/notify"
	"github.com/goldkeep/goldkeep/internal/plan"
	"github.com/goldkeep/goldkeep/internal/policy"
	"github.com/goldkeep/goldkeep/internal/provenance"
	"github.com/goldkeep/goldkeep/internal/verdict"
	"github.com/goldkeep/goldkeep/internal/vex"
	"github.com/goldkeep/goldkeep/internal/workload"
)

// Options are the rooms the API shows. All are needed.
type Options struct {
	Catalog    *catalog.Catalog
	Workloads  *workload.Book
	Identity   *identity.Service
	Notify     *notify.Service
	Planner    *plan.Planner
	Advisories *advisory.Index
	Keys       *provenance.Keyring // the server's own, to sign with
	Verifier   string              // who judges, as a URI, in what the server signs
	Vendors    *vex.Book
	Scan       func(ctx context.Context, img *image.Image) (verdict.Evidence, error)
	EnrolNode  func(ctx context.Context, node string) (*auth.Granted, error)
	Records    func(ctx context.Context, after uint64, limit int) ([]audit.Record, error)
	EachRecord func(ctx context.Context, fn func(audit.Record) error) error // of this node's log, oldest first
	Explainer  *gate.Explainer
	OpenRecord func(rec audit.Record) (json.RawMessage, error)
	Anchor     func() audit.Anchor // how far this node's audit log has come
	TempDir    string              // for uploads, below the data folder
	Limits     image.Limits        // of images
	MaxUpload  int64               // bytes of one upload; 0: 16 GiB
	Version    string
	Log        *slog.Logger
}

// Engine serves the paths below "api/" to the gate.
type Engine struct {
	o       Options
	router  *engine.Router
	special engine.Special
	uploads chan struct{} // bounds the uploads being taken
	scans   chan struct{} // bounds the scans under way
	wanted  chan string   // references of images to be fetched
	feeds   chan struct{} // one feed is imported at a time
}

var _ engine.Engine = (*Engine)(nil)

// How many uploads are taken, and how many images scanned, at once. A slow upload
// holds up no scan.
const (
	maxUploads = 8
	maxScans   = 2
)

// New makes the engine from the list of operations.
func New(o Options) *Engine {
	if o.MaxUpload == 0 {
		o.MaxUpload = 16 << 30
	}
	e := &Engine{
		o: o, uploads: make(chan struct{}, maxUploads), scans: make(chan struct{}, maxScans), wanted: make(chan string, maxWanted), feeds: make(chan struct{}, 1),
	}
	byPath := map[string]*engine.Ops{}
	var routes []engine.Route
	for _, op := range e.operations() {
		path := strings.TrimPrefix(op.path, "/api/")
		if byPath[path] == nil {
			byPath[path] = &engine.Ops{}
			routes = append(routes, engine.Route{Path: path})
		}
		op.place(byPath[path], e.handler(op))
		e.special = op.mark(e.special, path)
	}
	for i := range routes {
		routes[i].Ops = *byPath[routes[i].Path]
	}
	e.router = engine.Routes(routes)
	return e
}

// operation is one thing the API offers.
type operation struct {
	method, path string // "GET", "/api/v1/images/{digest}"
	summary      string
	do           func(ctx context.Context, c *call) (any, error)
	in, out      any      // examples of the body's and the answer's type, for OpenAPI; nil: none
	query        []string // names of the query parameters
	open         bool     // no token needed
	sealed       bool     // also while the server is sealed
	stream       bool     // the body is bytes, not JSON
}

// call is one request to an operation.
type call struct {
	*engine.Request
	vars engine.Vars
}

func (op operation) place(ops *engine.Ops, h engine.Handler) {
	switch op.method {
	case "GET":
		ops.Read = h
	case "DELETE":
		ops.Delete = h
	default:
		ops.Write = h
	}
}

// mark adds what is special about an operation's path.
func (op operation) mark(s engine.Special, path string) engine.Special {
	p := pattern(path)
	if op.open {
		s.Open = append(s.Open, p)
	}
	if op.sealed {
		s.Sealed = append(s.Sealed, p)
	}
	if op.stream {
		s.Streaming = append(s.Streaming, p)
	}
	if op.method == "GET" {
		s.Pure = append(s.Pure, p)
	}
	return s
}

// pattern turns "{x}" into the "+" of engine.Special.
func pattern(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if strings.HasPrefix(part, "{") {
			parts[i] = "+"
		}
	}
	return strings.Join(parts, "/")
}

func (e *Engine) handler(op operation) engine.Handler {
	return func(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
		out, err := op.do(ctx, &call{Request: req, vars: v})
		if err != nil || out == nil {
			return nil, err
		}
		if h, ok := out.(handed); ok { // the gate takes the token back where the answer cannot leave
			return &engine.Response{Data: h.body, Bare: true, Auth: h.granted}, nil
		}
		return &engine.Response{Data: out, Bare: true}, nil
	}
}

// handed is an answer that hands out a token.
type handed struct {
	body    any
	granted *auth.Granted
}

// Handle answers one request that has passed the gate.
func (e *Engine) Handle(ctx context.Context, req *engine.Request) (*engine.Response, error) {
	return e.router.Handle(ctx, req)
}

// Exists says that every write is an update: the API's policies need "update".
func (e *Engine) Exists(context.Context, string) (bool, error) { return true, nil }

// Special lists what the gate must treat differently.
func (e *Engine) Special() engine.Special { return e.special }

// decode reads the body into a wire type; unknown fields are refused.
func decode[T any](c *call) (*T, error) {
	body, err := json.Marshal(c.Data)
	if err != nil {
		return nil, fmt.Errorf("encode body: %w", err)
	}
	v := new(T)
	dec := json.NewDecoder(strings.NewReader(string(body)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return nil, fault.New(fault.Invalid, "the body is not understood: %v", err)
	}
	return v, nil
}

func (c *call) param(name string) string {
	if values := c.Query[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// items is how every list comes.
type items[T any] struct {
	Items []T `json:"items"`
}

func listOf[T any](all []T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	if all == nil {
		all = []T{}
	}
	return items[T]{all}, nil
}

// digest reads a digest from the path.
func (c *call) digest() (image.Digest, error) {
	d, err := image.ParseDigest(c.vars["digest"])
	if err != nil {
		return "", fault.New(fault.Invalid, "%v", err).WithHint("write the whole digest: sha256: and 64 hex digits")
	}
	return d, nil
}

// nodeOf is the node whose agent a token belongs to; "" where it is nobody's. The
// token's policy counts too: anybody who makes tokens chooses their metadata.
func nodeOf(subject *auth.Subject) string {
	if subject == nil || !slices.Contains(subject.Policies, policy.NodeName) {
		return ""
	}
	return subject.Meta["node"]
}

// forNode refuses a node's token that speaks for another node, and anybody's
// token that is neither a node's nor root's.
func forNode(subject *auth.Subject, node string) error {
	switch {
	case node == "":
		return fault.New(fault.Invalid, "the node is not named")
	case subject == nil:
		return fault.New(fault.Denied, "permission denied")
	case subject.Root || nodeOf(subject) == node:
		return nil
	}
	return fault.New(fault.Denied, "permission denied: this token is not the one of node %.63q", node).
		WithHint("an agent's token is made with: goldkeep node enrol NODE")
}
