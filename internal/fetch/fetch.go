// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package fetch asks others over HTTP within narrow limits: what auth methods need of
// those whom they believe.
package fetch

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// Limits of one question.
const (
	Time    = 10 * time.Second // for all of it
	most    = 1 << 20          // bytes of an answer
	maxHops = 3                // redirects
)

// NewClient makes a client that trusts the given authorities (PEM; "": the
// system's), follows few redirects and none to another scheme, and takes answers
// up to most.
func NewClient(caPEM string) (*http.Client, error) { return NewClientUpTo(caPEM, most) }

// NewClientUpTo is NewClient for answers of up to most bytes.
func NewClientUpTo(caPEM string, most int64) (*http.Client, error) {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConns: 4, IdleConnTimeout: time.Minute,
		TLSHandshakeTimeout: Time, ResponseHeaderTimeout: Time, MaxResponseHeaderBytes: 64 << 10,
		TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if caPEM != "" {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(caPEM)) {
			return nil, fault.New(fault.Invalid, "could not parse CA PEM value successfully")
		}
		transport.TLSClientConfig.RootCAs = pool
	}
	return &http.Client{
		Transport: bounded{transport, most}, Timeout: Time,
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			switch {
			case via[0].Method != http.MethodGet:
				return errors.New("a redirect with what was for this address alone")
			case len(via) > maxHops:
				return errors.New("too many redirects")
			case req.URL.Scheme != via[0].URL.Scheme:
				return errors.New("a redirect to another scheme")
			}
			return nil
		},
	}, nil
}

// bounded cuts answers off at most bytes.
type bounded struct {
	http.RoundTripper
	most int64
}

// RoundTrip implements http.RoundTripper.
func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(req)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, b.most), resp.Body}
	}
	return resp, err
}

// CheckURL accepts addresses that can be asked: https or http, without credentials.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return fault.New(fault.Invalid, "the URL must begin with https://")
	case u.User != nil:
		return fault.New(fault.Invalid, "the URL must hold no credentials")
	}
	return nil
}

// GetJSON fetches a document, with a bearer token where one is given. Errors say
// what went wrong, not what the answer held.
func GetJSON(ctx context.Context, client *http.Client, from, bearer string, to any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return fault.New(fault.Invalid, "the URL is none")
	}
	req.Header.Set("Accept", "application/json")
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := client.Do(req)
	if err != nil {
		return fault.New(fault.Unavailable, "ask %s: %s", req.URL.Host, reason(err))
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fault.New(fault.Unavailable, "ask %s: it answered with status %d", req.URL.Host, resp.StatusCode)
	}
	dec := json.NewDecoder(resp.Body)
	dec.UseNumber()
	if err := dec.Decode(to); err != nil {
		return fault.New(fault.Unavailable, "ask %s: its answer is not the JSON that was expected, or over %d bytes", req.URL.Host, most)
	}
	return nil
}

// reason is the last part of a network error, without the URL.
func reason(err error) string {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	return err.Error()
}
