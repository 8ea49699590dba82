// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package courier carries requests to registries: connections are used again, and
// none waits for ever for a server that has stopped answering.
package courier

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// Time limits of one request. A body may take as long as it keeps coming.
const (
	Dial    = 10 * time.Second // until there is a connection, and again for TLS
	headers = 30 * time.Second
	stalled = 60 * time.Second
)

// Shared is for all registries, so that connections are used again.
var Shared = New(stalled)

// New makes a transport that gives a request up whose body has not come any further
// for a time.
func New(stall time.Duration) http.RoundTripper {
	return &guard{stall: stall, next: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: Dial}).DialContext,
		TLSHandshakeTimeout:   Dial,
		ResponseHeaderTimeout: headers,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       90 * time.Second,
	}}
}

// guard cancels a request whose body stops coming.
type guard struct {
	next  http.RoundTripper
	stall time.Duration
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	resp, err := g.next.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel(nil)
		return nil, err
	}
	timer := time.AfterFunc(g.stall, func() { cancel(errors.New("the answer stopped coming")) })
	resp.Body = &body{ReadCloser: resp.Body, timer: timer, stall: g.stall, cancel: cancel}
	return resp, nil
}

type body struct {
	io.ReadCloser
	timer  *time.Timer
	stall  time.Duration
	cancel context.CancelCauseFunc
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.timer.Reset(b.stall)
	return b.ReadCloser.Read(p)
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.timer.Stop()
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}
