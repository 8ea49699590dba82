// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package wire is the /v1 door: it turns HTTP as Vault and OpenBao clients speak
// it into requests for the gate, and the gate's answers back. It decides
// nothing.
package wire

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/gate"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// Options are a handler's settings; the zero value works.
type Options struct {
	MaxBody int64        // largest request body in bytes; 0: 32 MiB
	Logger  *slog.Logger // for errors nobody classified; nil: they are dropped
	CORS    CORS         // nil: browsers are not answered for web pages
}

const defaultMaxBody = 32 << 20

type handler struct {
	gate *gate.Gate
	o    Options
}

// Handler serves everything below /v1/.
func Handler(g *gate.Gate, o Options) http.Handler {
	if o.MaxBody == 0 {
		o.MaxBody = defaultMaxBody
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &handler{gate: g, o: o}
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header()["Cache-Control"] = noStore
	if h.cors(w, r) {
		return
	}
	req, err := h.request(w, r)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	resp, err := h.handle(r, req)
	if err != nil {
		h.fail(w, r, err)
		return
	}
	if err := answer(w, r, resp); err != nil {
		h.fail(w, r, err)
	}
}

func (h *handler) handle(r *http.Request, req *gate.Request) (*gate.Response, error) {
	if r.Header[inlinePath] != nil {
		return h.inline(r, req)
	}
	return h.gate.Handle(r.Context(), req)
}

var (
	noStore  = []string{"no-store"}
	jsonType = []string{"application/json"}
)

// request understands what is asked for.
func (h *handler) request(w http.ResponseWriter, r *http.Request) (*gate.Request, error) {
	path, ok := strings.CutPrefix(r.URL.Path, "/v1/")
	if !ok {
		return nil, fault.New(fault.NotFound, "no such path: the API begins with /v1/")
	}
	ns, err := namespace(r, path)
	if err != nil {
		return nil, err
	}
	req := &gate.Request{Path: path, Namespace: ns, Token: token(r), Remote: remote(r)}
	req.Codes = codes(r.Header["X-Vault-Mfa"])
	if name, secret, ok := r.BasicAuth(); ok {
		req.Basic = &engine.Basic{Name: name, Secret: secret}
	}
	if r.TLS != nil {
		req.Peer = r.TLS.PeerCertificates
	}
	if r.URL.RawQuery != "" {
		req.Query = r.URL.Query()
	}
	if req.Op, err = operation(r, req.Query); err != nil {
		return nil, err
	}
	if req.WrapTTL, err = wrapTTL(r); err != nil {
		return nil, err
	}
	switch {
	case req.Op == policy.Patch && slices.Contains(plainPaths, r.URL.Path):
		return nil, errVerb
	case req.Op == policy.Read || req.Op == policy.List || req.Op == policy.Scan || req.Op == engine.Help:
		req.Data = readQuery(req.Query)
	case h.gate.Streams(r.Context(), path):
		req.Body = http.MaxBytesReader(w, r.Body, maxStream)
	default:
		req.Data, err = readFields(r, http.MaxBytesReader(w, r.Body, h.o.MaxBody), req.Op)
		if req.Op == policy.Delete && len(req.Data) == 0 && err == nil {
			req.Data = queryFields(req.Query)
		}
	}
	return req, err
}

// codes reads the further proofs of a login: "METHOD:CODE", or "METHOD" alone.
func codes(header []string) map[string][]string {
	if len(header) == 0 {
		return nil
	}
	all := map[string][]string{}
	for _, value := range header {
		name, code, found := strings.Cut(strings.TrimSpace(value), ":")
		if all[name] = append(all[name], code); !found {
			all[name] = nil
		}
	}
	return all
}

// operation maps a verb, and the query that clients use in its stead.
func operation(r *http.Request, query map[string][]string) (policy.Capability, error) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		list, scan, help := isTrue(query["list"]), isTrue(query["scan"]), isTrue(query["help"])
		switch {
		case help:
			return engine.Help, nil
		case list && scan:
			return "", fault.New(fault.Invalid, "list and scan cannot be asked for together")
		case list:
			return policy.List, nil
		case scan:
			return policy.Scan, nil
		}
		return policy.Read, nil
	case "LIST":
		return policy.List, nil
	case "SCAN":
		return policy.Scan, nil
	case http.MethodPut, http.MethodPost:
		if strings.HasSuffix(r.URL.Path, "/") {
			return "", errFolder
		}
		return policy.Update, nil
	case http.MethodPatch:
		if strings.HasSuffix(r.URL.Path, "/") {
			return "", errFolder
		}
		return policy.Patch, nil
	case http.MethodDelete:
		return policy.Delete, nil
	case http.MethodOptions:
		return "", fault.New(fault.Unsupported, "unsupported operation")
	}
	return "", errVerb
}

var errVerb = fault.New(fault.Unsupported, "unsupported operation")

var errFolder = fault.New(fault.Invalid, "cannot write to a path ending in '/'")

func isTrue(values []string) bool {
	if len(values) == 0 {
		return false
	}
	yes, err := strconv.ParseBool(values[0])
	return err == nil && yes
}

// token is the caller's token: X-Vault-Token, else a Bearer authorization.
// Other authorizations are a proxy's, and none of our business.
func token(r *http.Request) string {
	if t := r.Header["X-Vault-Token"]; len(t) > 0 {
		return t[0]
	}
	if a := r.Header["Authorization"]; len(a) > 0 && len(a[0]) > 7 && strings.EqualFold(a[0][:7], "Bearer ") {
		return strings.TrimSpace(a[0][7:])
	}
	return ""
}

func remote(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "unix"
	}
	return host
}

func wrapTTL(r *http.Request) (time.Duration, error) {
	text := r.Header["X-Vault-Wrap-Ttl"]
	if len(text) == 0 {
		return 0, nil
	}
	ttl, err := engine.ParseDuration(text[0])
	if err != nil {
		return 0, fault.New(fault.Invalid, "error parsing X-Vault-Wrap-TTL header: %w", err)
	}
	return ttl, nil
}

// rootOnly are the paths that refuse a namespace even where it is the root's.
var rootOnly = []string{
	"sys/init", "sys/seal", "sys/unseal", "sys/health", "sys/metrics", "sys/rekey/*", "sys/rekey-recovery-key/*",
	"sys/generate-root/*", "sys/storage/raft/*",
}

// namespace is the one a request is in.
func namespace(r *http.Request, path string) (string, error) {
	ns := r.Header["X-Vault-Namespace"]
	switch {
	case len(ns) == 0 || len(ns) == 1 && ns[0] == "":
		return "", nil
	case len(ns) > 1:
		return "", fault.New(fault.Invalid, "the header X-Vault-Namespace is there twice")
	case engine.MatchPath(rootOnly, path):
		return "", fault.New(fault.Invalid, "operation only available in root namespace: this path takes no namespace")
	}
	return ns[0], nil
}

// answer writes what the gate answered.
func answer(w http.ResponseWriter, r *http.Request, resp *gate.Response) error {
	a := resp.Answer
	if a == nil {
		return nothing(w, resp.Op)
	}
	header := w.Header()
	for k, v := range a.Header {
		header.Set(k, v)
	}
	status := a.Status
	if status == 0 {
		status = http.StatusOK
	}
	if a.Stream != nil {
		return stream(w, r, a.Stream)
	}
	body, err := render(resp)
	if err != nil {
		return err
	}
	if body == nil {
		if a.Status == 0 {
			return nothing(w, resp.Op)
		}
		w.WriteHeader(status)
		return nil
	}
	if header["Content-Type"] == nil {
		header["Content-Type"] = jsonType
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a client that is gone needs no answer
	}
	return nil
}

// stream sends a body that is not held in memory. Where it breaks off, so does
// the connection: the client must see that it has not all of it.
func stream(w http.ResponseWriter, r *http.Request, body io.ReadCloser) error {
	defer func() { _ = body.Close() }()
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	if _, err := io.Copy(w, body); err != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

// maxStream bounds a body that is not held in memory, in bytes; the disk does
// before.
const maxStream = 1 << 42

// render is the body of an answer, nil where there is nothing to say.
func render(resp *gate.Response) ([]byte, error) {
	a := resp.Answer
	switch {
	case resp.Wrap != nil:
	case a.Raw != nil:
		return a.Raw, nil
	case a.Wrapped != nil:
		return append(a.Wrapped[:len(a.Wrapped):len(a.Wrapped)], '\n'), nil
	case a.Bare:
		body, err := json.Marshal(a.Data)
		return append(body, '\n'), err
	case a.Data == nil && a.Auth == nil && a.Secret == nil && len(a.Warnings) == 0:
		return nil, nil
	}
	body, err := resp.AppendEnvelope(make([]byte, 0, 1024))
	return append(body, '\n'), err
}

// nothing answers a read of nothing, or a write that is done.
func nothing(w http.ResponseWriter, op policy.Capability) error {
	if op == policy.Read || op == policy.List || op == policy.Scan {
		w.Header()["Content-Type"] = jsonType
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"errors":[]}` + "\n"))
		return nil
	}
	w.Header()["Content-Type"] = jsonType // as the servers do whose clients come here
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// statuses maps the kinds of error to HTTP.
var statuses = map[fault.Kind]int{
	fault.Invalid: 400, fault.Conflict: 400, fault.Denied: 403, fault.Refused: 403, fault.NotFound: 404,
	fault.Unsupported: 405, fault.TooLarge: 413, fault.Limited: 429, fault.Sealed: 503, fault.Unavailable: 503, fault.Internal: 500,
}

// plainPaths are as old as the API: a verb they do not know is answered without
// a word.
var plainPaths = []string{"/v1/sys/init", "/v1/sys/seal-status", "/v1/sys/unseal", "/v1/sys/seal", "/v1/sys/health", "/v1/sys/leader", "/v1/sys/step-down"}

// said is an error in the form clients know: what the framework says, and not an
// engine, is a list of one.
func said(r *http.Request, err error) []string {
	text := fault.Public(err)
	switch {
	case errors.Is(err, errVerb), fault.Is(err, fault.Unsupported) && slices.Contains(plainPaths, r.URL.Path):
		return []string{}
	case errors.Is(err, gate.ErrNotAllowed), text == "unsupported operation", text == "unsupported path":
		return []string{"1 error occurred:\n\t* " + text + "\n\n"}
	}
	return []string{text}
}

// Uncached says of every answer that nobody may keep it.
func Uncached(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Cache-Control"] = noStore
		next.ServeHTTP(w, r)
	})
}

// fail answers an error. What nobody classified goes to the log, not outside.
func (h *handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	kind := fault.KindOf(err)
	if kind == fault.Internal || kind == fault.Unavailable {
		h.o.Logger.Error("request failed", "error", err, "cause", errors.Unwrap(err))
	}
	status := statuses[kind]
	if own := engine.StatusOf(err); own != 0 {
		status = own
	}
	body, _ := json.Marshal(struct { // texts always marshal
		Errors []string `json:"errors"`
	}{said(r, err)})
	w.Header()["Content-Type"] = jsonType
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(append(body, '\n'))
	}
}
