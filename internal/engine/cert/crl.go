// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cert

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/fetch"
)

// crl is a revocation list (RFC 5280, section 5), as far as it matters here.
type crl struct {
	Name    string              `json:"name"`
	Source  *source             `json:"cdp"` // nil: it was written
	Issuer  []byte              `json:"issuer"`
	Serials map[string]struct{} `json:"serials"`
	Number  *big.Int            `json:"number,omitempty"` // nil: it has none
	Issued  time.Time           `json:"issued"`
}

// source is where a list is fetched from, when it is out of date.
type source struct {
	URL   string    `json:"url"`
	Until time.Time `json:"valid_until"`
}

// Limits of lists.
const (
	maxRevoked = 500_000        // certificates of one
	maxCRL     = 16 << 20       // bytes of one that is fetched
	crlLife    = 24 * time.Hour // one this old is fetched again, whatever it says
)

// patience is the time between two attempts to fetch a list.
const patience = time.Minute

// lists remembers when lists were last asked for, and why they were not had.
type lists struct {
	mu     sync.Mutex
	tried  map[string]time.Time
	failed map[string]string
}

// note keeps how fetching a list ended, for whoever reads it.
func (l *lists) note(name string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = map[string]string{}
	}
	delete(l.failed, name)
	if err != nil {
		l.failed[name] = fault.Public(err)
	}
}

func (l *lists) failure(name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed[name]
}

// due reports whether a list may be asked for now, and notes that it is.
func (l *lists) due(name string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last, there := l.tried[name]; there && now.Sub(last) < patience {
		return false
	}
	if l.tried == nil {
		l.tried = map[string]time.Time{}
	}
	l.tried[name] = now
	return true
}

func crlPath(name string) string { return "crl/" + strings.ToLower(name) }

func (e *Engine) listCRLs(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	return e.Names(ctx, "crl")
}

func (e *Engine) showCRL(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	l, err := engine.Look[crl](ctx, e.Space, crlPath(v["name"]))
	if err == nil && l == nil {
		err = fault.New(fault.NotFound, "no such CRL %s", strings.ToLower(v["name"]))
	}
	if err != nil {
		return nil, err
	}
	data := map[string]any{"cdp": l.Source, "serials": l.Serials}
	if why := e.lists.failure(l.Name); why != "" {
		data["error"] = why
	}
	return &engine.Response{Data: data}, nil
}

func (e *Engine) removeCRL(ctx context.Context, _ *engine.Request, v engine.Vars) (*engine.Response, error) {
	return nil, e.Remove(ctx, crlPath(v["name"]))
}

func (e *Engine) putCRL(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	text, from := f.Text("crl"), f.Text("url")
	var l *crl
	err := f.Err()
	switch {
	case err != nil:
		return nil, err
	case (text == "") == (from == ""):
		return nil, fault.New(fault.Invalid, "one of 'crl' or 'url' must be provided")
	case text != "":
		l, _, err = parseCRL([]byte(text))
	default:
		var held *crl
		if held, err = engine.Look[crl](ctx, e.Space, crlPath(v["name"])); err == nil {
			l, err = e.fetchCRL(ctx, from, held, req.Now)
		}
	}
	if err != nil {
		return nil, err
	}
	e.lists.note(strings.ToLower(v["name"]), nil)
	return nil, e.keepCRL(ctx, strings.ToLower(v["name"]), l)
}

func (e *Engine) keepCRL(ctx context.Context, name string, l *crl) error {
	l.Name = name
	return e.Space.Update(ctx, func(w barrier.Writer) error {
		return w.Put(ctx, barrier.Entry{Path: crlPath(name), Value: engine.Stored(l)})
	})
}

// parseCRL reads a list in PEM or DER. Whoever may write it here is believed: its
// signature and its times are not looked at.
func parseCRL(text []byte) (l *crl, list *x509.RevocationList, err error) {
	if block, _ := pem.Decode(text); block != nil {
		text = block.Bytes
	}
	if list, err = x509.ParseRevocationList(text); err != nil {
		return nil, nil, fault.New(fault.Invalid, "failed to parse CRL: it is neither PEM nor DER of one")
	}
	if len(list.RevokedCertificateEntries) > maxRevoked {
		return nil, nil, fault.New(fault.TooLarge, "the CRL has over %d certificates", maxRevoked)
	}
	l = &crl{Issuer: list.RawIssuer, Serials: map[string]struct{}{}, Number: list.Number, Issued: list.ThisUpdate}
	for _, revoked := range list.RevokedCertificateEntries {
		l.Serials[revoked.SerialNumber.String()] = struct{}{}
	}
	return l, list, nil
}

// fetchCRL fetches a list from a distribution point. Whoever answers there is not
// believed: an authority of the mount must have signed it, and it must not be older
// than the one that is held (nil: none).
func (e *Engine) fetchCRL(ctx context.Context, from string, held *crl, now time.Time) (*crl, error) {
	if err := fetch.CheckURL(from); err != nil {
		return nil, err
	}
	client, err := fetch.NewClientUpTo("", maxCRL+1)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetch.Time)
	defer cancel()
	body, err := ask(ctx, client, http.MethodGet, from, nil)
	if err != nil {
		return nil, fault.New(fault.Invalid, "fetch CRL: %w", err)
	}
	if len(body) > maxCRL {
		return nil, fault.New(fault.TooLarge, "the CRL has over %d bytes", maxCRL)
	}
	l, list, err := parseCRL(body)
	if err == nil {
		err = e.authentic(ctx, list)
	}
	if err != nil {
		return nil, err
	}
	if held != nil && l.olderThan(held) {
		return nil, fault.New(fault.Invalid, "the fetched CRL is older than the one that is held")
	}
	l.Source = &source{URL: from, Until: now.Add(crlLife)}
	if !list.NextUpdate.IsZero() && list.NextUpdate.Before(l.Source.Until) {
		l.Source.Until = list.NextUpdate
	}
	return l, nil
}

// authentic checks that an authority of the mount's entries has signed a list.
func (e *Engine) authentic(ctx context.Context, list *x509.RevocationList) error {
	entries, err := e.entries(ctx, "")
	if err != nil {
		return err
	}
	for _, c := range entries {
		for _, trusted := range c.certs {
			if trusted.IsCA && bytes.Equal(trusted.RawSubject, list.RawIssuer) && list.CheckSignatureFrom(trusted) == nil {
				return nil
			}
		}
	}
	return fault.New(fault.Invalid, "the fetched CRL is signed by no authority of this mount's entries").
		WithHint("add the certificate of the CRL's issuer to an entry first")
}

// olderThan compares two lists of one issuer (RFC 5280, section 5.2.3).
func (l *crl) olderThan(held *crl) bool {
	if !bytes.Equal(l.Issuer, held.Issuer) {
		return false
	}
	return held.Number != nil && (l.Number == nil || l.Number.Cmp(held.Number) < 0) || l.Issued.Before(held.Issued)
}

// due reports whether a list is to be fetched again.
func (s *source) due(now time.Time) bool {
	return s != nil && (!now.Before(s.Until) || s.Until.Sub(now) > crlLife)
}

// ask sends a request and returns the answer's body.
func ask(ctx context.Context, client *http.Client, verb, to string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, verb, to, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/ocsp-request")
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "%s does not answer", req.URL.Host)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, fault.New(fault.Unavailable, "%s answers with status %d", req.URL.Host, resp.StatusCode)
	}
	return io.ReadAll(resp.Body) // the client bounds it
}

// revocations are the lists of a mount.
type revocations []*crl

// any reports whether one of some certificates has been taken back.
func (r revocations) any(chain []*x509.Certificate) bool {
	for _, c := range chain {
		for _, l := range r {
			if _, there := l.Serials[c.SerialNumber.String()]; there && bytes.Equal(l.Issuer, c.RawIssuer) {
				return true
			}
		}
	}
	return false
}

// revocations reads the lists; those that are fetched and out of date are fetched
// anew. Where that fails the last one holds, and reading it says why.
func (e *Engine) revocations(ctx context.Context, now time.Time) (revocations, error) {
	all, err := e.readCRLs(ctx)
	if err != nil {
		return nil, err
	}
	for i, l := range all {
		if !l.Source.due(now) || !e.lists.due(l.Name, now) {
			continue
		}
		fresh, err := e.fetchCRL(ctx, l.Source.URL, l, now)
		if err == nil && !bytes.Equal(fresh.Issuer, l.Issuer) {
			err = fault.New(fault.Invalid, "the fetched CRL is of another issuer")
		}
		if e.lists.note(l.Name, err); err != nil {
			continue
		}
		if err := e.keepCRL(ctx, l.Name, fresh); err != nil {
			return nil, err
		}
		all[i] = fresh
	}
	return all, nil
}

func (e *Engine) readCRLs(ctx context.Context) (all revocations, err error) {
	err = e.Space.View(ctx, func(r barrier.Reader) error {
		all = nil
		names, err := r.List(ctx, "crl")
		if err != nil {
			return err
		}
		for _, name := range names {
			l, err := barrier.Decoded(ctx, r, crlPath(name), decodeCRL)
			if err != nil {
				return err
			}
			if l != nil {
				all = append(all, l)
			}
		}
		return nil
	})
	return all, err
}

func decodeCRL(value []byte) (*crl, error) {
	l := &crl{}
	if err := json.Unmarshal(value, l); err != nil {
		return nil, fmt.Errorf("decode CRL: %w", err)
	}
	return l, nil
}
