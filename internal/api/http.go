// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/gate"
	"github.com/goldkeep/goldkeep/internal/identity"
	"github.com/goldkeep/goldkeep/internal/manifest"
	"github.com/goldkeep/goldkeep/internal/policy"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// maxBody bounds a JSON body in bytes.
const maxBody = 8 << 20

// Handler serves everything below /api/ through the gate.
func Handler(g *gate.Gate, log *slog.Logger) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if err := serve(g, w, r); err != nil {
			fail(w, r, err, log)
		}
	})
}

var capabilities = map[string]policy.Capability{
	"GET": policy.Read, "HEAD": policy.Read, "POST": policy.Update, "PUT": policy.Update, "DELETE": policy.Delete,
}

func serve(g *gate.Gate, w http.ResponseWriter, r *http.Request) error {
	op, ok := capabilities[r.Method]
	if !ok {
		return fault.New(fault.Unsupported, "method %s is not offered here", r.Method)
	}
	// Policies are written for plain paths: one that is written with "%" must not
	// slip past them, so it is decoded first, and cannot hide a slash.
	if strings.Count(r.URL.Path, "/") != strings.Count(r.URL.EscapedPath(), "/") {
		return fault.New(fault.Invalid, "a name in the path holds a slash")
	}
	req := &gate.Request{
		Op: op, Path: strings.Trim(r.URL.Path, "/"), Query: r.URL.Query(), Token: token(r), Remote: remote(r),
	}
	if op == policy.Update {
		if g.Streams(r.Context(), req.Path) {
			req.Body = r.Body
		} else if err := readBody(w, r, req); err != nil {
			return err
		}
	}
	resp, err := g.Handle(r.Context(), req)
	if err != nil {
		return err
	}
	if resp.Answer == nil || resp.Answer.Data == nil {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	body, err := json.Marshal(resp.Answer.Data)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(body, '\n')) // a client that has hung up is nobody's error
	return nil
}

func readBody(w http.ResponseWriter, r *http.Request, req *gate.Request) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return fault.New(fault.TooLarge, "the body is over %d bytes", tooLarge.Limit)
	}
	if err != nil {
		return fault.New(fault.Invalid, "read body: %w", err)
	}
	req.Data = map[string]json.RawMessage{}
	if len(body) == 0 {
		return nil
	}
	if err := json.Unmarshal(body, &req.Data); err != nil {
		return fault.New(fault.Invalid, "the body is not a JSON object: %v", err)
	}
	return nil
}

// token is taken from the headers Vault's clients use, too.
func token(r *http.Request) string {
	if t := r.Header.Get("X-Vault-Token"); t != "" {
		return t
	}
	t, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return t
}

func remote(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "unix"
	}
	return host
}

// statuses maps kinds of error to HTTP.
var statuses = map[fault.Kind]int{
	fault.Internal: 500, fault.Invalid: 400, fault.NotFound: 404, fault.Conflict: 409, fault.Denied: 403, fault.Refused: 403,
	fault.Sealed: 503, fault.Unavailable: 503, fault.TooLarge: 413, fault.Unsupported: 405, fault.Limited: 429,
}

// problem is an error as callers get it: RFC 9457, with our own members.
type problem struct {
	Type    string           `json:"type"`
	Title   string           `json:"title"`
	Status  int              `json:"status"`
	Detail  string           `json:"detail"`
	Kind    string           `json:"kind"`
	Hint    string           `json:"hint,omitempty"`
	Errors  []string         `json:"errors,omitempty"`
	Wanted  bool             `json:"wanted,omitempty"`
	Verdict *verdict.Verdict `json:"verdict,omitempty"`
}

// Limits of one answer: documents can be wrong in a million places.
const (
	maxErrors = 100
	maxDetail = 16 << 10 // bytes
)

// tell lists the first problems of a document.
func (p *problem) tell(errs manifest.Errors) {
	for i, e := range errs {
		if i == maxErrors {
			p.Errors = append(p.Errors, fmt.Sprintf("and %d more", len(errs)-maxErrors))
			break
		}
		p.Errors = append(p.Errors, e.Error())
	}
	if len(p.Detail) > maxDetail {
		p.Detail = strings.ToValidUTF8(p.Detail[:maxDetail], "") + "..."
	}
}

func fail(w http.ResponseWriter, r *http.Request, err error, log *slog.Logger) {
	kind := fault.KindOf(err)
	p := problem{
		Type: "about:blank", Status: statuses[kind], Title: http.StatusText(statuses[kind]), Detail: fault.Public(err),
		Kind: kind.String(), Hint: fault.HintOf(err),
	}
	if kind == fault.Internal {
		log.Error("answer request", "method", r.Method, "error", err)
	}
	p.tell(errorsOf(err))
	var refusal *identity.Refusal
	if errors.As(err, &refusal) {
		p.Wanted, p.Verdict = refusal.Wanted, refusal.Verdict
	}
	body, err := json.Marshal(p)
	if err != nil {
		log.Error("encode problem", "error", err)
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n'))
}

// errorsOf returns each problem of a document in err's chain, or none.
func errorsOf(err error) manifest.Errors {
	var many manifest.Errors
	errors.As(err, &many)
	return many
}
