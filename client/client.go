// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package client speaks to a Goldkeep server: the SDK for Go programs, and what
// the goldkeep command line and agent use themselves. It depends on the standard
// library only.
//
//	c, err := client.FromEnvironment()
//	images, err := c.Images(ctx)
//
// The secrets side (/v1) is the HTTP API of Vault and OpenBao: use their client
// libraries for it, or Secret and Raw here.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Config says where the server is and who is asking.
type Config struct {
	Addr   string // "https://host:8200"
	Token  string
	CACert string // PEM file of the CA to trust, and no other; "": those the system trusts
	// HTTP replaces the client's own HTTP client, TLS settings included.
	HTTP *http.Client
}

// Client is a connection to a server. It may be used by many goroutines at once.
type Client struct {
	addr  string
	token string
	http  *http.Client
}

// Error is what the server answered instead (RFC 9457 problem details, or the
// "errors" list of /v1).
type Error struct {
	Status  int      `json:"status"`
	Kind    string   `json:"kind"` // stable: invalid, not_found, conflict, denied, refused, sealed, unavailable, too_large, unsupported, internal
	Message string   `json:"detail"`
	Hint    string   `json:"hint,omitempty"`
	Errors  []string `json:"errors,omitempty"` // each problem of a document, with file and line
	Wanted  bool     `json:"wanted,omitempty"` // the server has never seen the image: upload it
	Verdict *Verdict `json:"verdict,omitempty"`
}

// Error is the server's message.
func (e *Error) Error() string {
	if e.Message == "" {
		return http.StatusText(e.Status)
	}
	return e.Message
}

// KindOf returns the kind of a server's answer in err's chain, or "".
func KindOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

// DefaultAddr is where a server listens unless told otherwise.
const DefaultAddr = "https://127.0.0.1:8200"

// FromEnvironment makes a client from GOLDKEEP_ADDR, GOLDKEEP_TOKEN and
// GOLDKEEP_CACERT; where they are unset from VAULT_ADDR, VAULT_TOKEN and
// VAULT_CACERT, and the token at last from ~/.goldkeep-token.
func FromEnvironment() (*Client, error) {
	return New(Config{Addr: env("ADDR"), Token: token(), CACert: env("CACERT")})
}

func env(name string) string {
	if v := os.Getenv("GOLDKEEP_" + name); v != "" {
		return v
	}
	return os.Getenv("VAULT_" + name)
}

func token() string {
	if t := env("TOKEN"); t != "" {
		return t
	}
	path, err := TokenFile()
	if err != nil {
		return ""
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// TokenFile is where "goldkeep login" keeps the token.
func TokenFile() (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("find home folder: %w", err)
	}
	return filepath.Join(home, ".goldkeep-token"), nil
}

// New makes a client. It does not connect yet.
func New(c Config) (*Client, error) {
	if c.Addr == "" {
		c.Addr = DefaultAddr
	}
	u, err := url.Parse(c.Addr)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("the server address must look like https://host:8200")
	}
	if c.HTTP == nil {
		if c.HTTP, err = httpClient(c.CACert); err != nil {
			return nil, err
		}
	}
	return &Client{addr: strings.TrimRight(c.Addr, "/"), token: c.Token, http: c.HTTP}, nil
}

func httpClient(caFile string) (*http.Client, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 16
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("read CA certificate: %w", err)
		}
		// As Vault's clients do. To read the system's hundreds would also take longer
		// than most requests.
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("there is no PEM certificate in %s", caFile)
		}
		t.TLSClientConfig.RootCAs = pool
	}
	return &http.Client{
		Transport: t,
		// A token is never carried to another host.
		CheckRedirect: func(req *http.Request, via []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

// Addr is the server's address.
func (c *Client) Addr() string { return c.addr }

// WithToken is the same client as somebody else.
func (c *Client) WithToken(token string) *Client {
	clone := *c
	clone.token = token
	return &clone
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 256 << 20

// Do sends in (as JSON; nil: no body; an io.Reader: as it is) and decodes the
// answer into out (nil: dropped). Answers of 400 and above are an *Error.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	body, err := c.Raw(ctx, method, path, in)
	if err != nil {
		return err
	}
	if out == nil || len(body) == 0 {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("decode the server's answer: %w", err)
	}
	return nil
}

// Raw is Do without decoding: the bytes of the answer.
func (c *Client) Raw(ctx context.Context, method, path string, in any) ([]byte, error) {
	resp, err := c.answer(ctx, method, path, in)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, unreachable(c.addr, err)
	}
	return text, nil
}

// answer sends a request; an answer of 400 and above is an *Error. The caller
// closes the body.
func (c *Client) answer(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	kind := "application/json"
	switch v := in.(type) {
	case nil:
	case io.Reader:
		body, kind = v, "application/octet-stream"
	default:
		text, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.addr+path, body)
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", kind)
	}
	req.Header.Set("X-Vault-Request", "true")
	if c.token != "" {
		req.Header.Set("X-Vault-Token", c.token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unreachable(c.addr, err)
	}
	if resp.StatusCode < 400 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, unreachable(c.addr, err)
	}
	return nil, failure(resp, text)
}

// unreachable keeps the cause but not the whole URL, which may name a secret.
func unreachable(addr string, err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	e := &Error{Kind: "unavailable", Message: fmt.Sprintf("the server at %s does not answer: %v", addr, err)}
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &unknown):
		e.Hint = "trust the server's own CA: export GOLDKEEP_CACERT=<data folder>/tls/ca.pem"
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		e.Hint = "the server speaks plain HTTP (dev mode): write http:// in GOLDKEEP_ADDR"
	default:
		e.Hint = "start one with: goldkeep server --dev; or say where it is with GOLDKEEP_ADDR"
	}
	return e
}

// failure makes an Error of an answer.
func failure(resp *http.Response, text []byte) error {
	e := &Error{}
	_ = json.Unmarshal(text, e) // not JSON: the status alone speaks
	e.Status = resp.StatusCode
	if e.Message == "" {
		e.Message = strings.TrimSpace(strings.Join(e.Errors, "; "))
		e.Errors = nil
	}
	if e.Kind == "" {
		e.Kind = kindOfStatus(resp.StatusCode)
	}
	return e
}

func kindOfStatus(status int) string {
	switch status {
	case 400, 405, 415:
		return "invalid"
	case 403:
		return "denied"
	case 404:
		return "not_found"
	case 409:
		return "conflict"
	case 413:
		return "too_large"
	case 503:
		return "sealed"
	}
	return "internal"
}

// Wait is how long a long-polling call may take beyond its own timeout.
const Wait = 10 * time.Second
