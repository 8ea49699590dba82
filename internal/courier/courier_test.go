// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package courier_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/courier"
)

// TestAnAnswerThatStopsIsGivenUp: a server that sends half a body and then nothing
// ends the request instead of holding it for ever.
func TestAnAnswerThatStopsIsGivenUp(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		if r.URL.Path == "/stops" {
			<-r.Context().Done()
		}
	}))
	defer server.Close()
	client := &http.Client{Transport: courier.New(20 * time.Millisecond)}
	read := func(path string) (string, error) {
		resp, err := client.Get(server.URL + path)
		if err != nil {
			return "", err
		}
		defer func() { _ = resp.Body.Close() }()
		text, err := io.ReadAll(resp.Body)
		return string(text), err
	}
	if text, err := read("/"); text != "half" || err != nil {
		t.Errorf("an answer that ends: %q, %v", text, err)
	}
	if _, err := read("/stops"); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("an answer that stops: %v", err)
	}
}
