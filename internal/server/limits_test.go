// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/client"
)

// TestLargeBodiesOfStrangers: who has no token cannot make the server hold more
// than a little, and whoever has one is served as before.
func TestLargeBodiesOfStrangers(t *testing.T) {
	w := newWorld(t, nil)
	large := `{"data":{"a":"` + strings.Repeat("x", 200<<10) + `"}}`
	stranger := w.client.WithToken("gks.nobody")
	for _, path := range []string{"/v1/secret/data/a", "/api/v1/apply"} {
		// It is refused by its announced size, before it is sent.
		pipe, feed := io.Pipe()
		go func() { _, _ = feed.Write([]byte(large[:100])) }()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		_, err := stranger.Raw(ctx, "POST", path, pipe)
		cancel()
		_ = pipe.Close()
		if err == nil || !strings.Contains(err.Error(), "a large body needs a token") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := w.client.PutSecret(t.Context(), "secret", "a", map[string]any{"a": large}); err != nil {
		t.Error(err)
	}
	chosen := "chosen-by-a-person"
	if err := w.client.Do(t.Context(), "POST", "/v1/auth/token/create", map[string]any{"id": chosen, "num_uses": 1, "policies": []string{"root"}}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.WithToken(chosen).PutSecret(t.Context(), "secret", "b", map[string]any{"a": large}); err != nil {
		t.Errorf("a token with one use: %v", err)
	}
	small := stranger.Do(t.Context(), "POST", "/v1/secret/data/a", map[string]any{"data": "x"}, nil)
	if client.KindOf(small) != "denied" {
		t.Errorf("a small body of a stranger: %v", small)
	}
}

// TestBodyThatComesSlowly: a body does not take the time of the answer.
func TestBodyThatComesSlowly(t *testing.T) {
	w := newWorld(t, nil)
	conn, err := tls.Dial("tcp", strings.TrimPrefix(w.client.Addr(), "https://"), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	body := `{"data":{"a":"b"}}`
	// Two requests one after the other on a connection: the deadline of the first
	// body must not end the second.
	for i := range 2 {
		if _, err := fmt.Fprintf(conn, "POST /v1/secret/data/x HTTP/1.1\r\nHost: x\r\nX-Vault-Token: %s\r\nContent-Length: %d\r\n\r\n", w.root, len(body)); err != nil {
			t.Fatal(err)
		}
		for _, b := range []byte(body) {
			if _, err := conn.Write([]byte{b}); err != nil {
				t.Fatal(err)
			}
		}
		answer := make([]byte, 4096)
		n, err := conn.Read(answer)
		if err != nil || !bytes.HasPrefix(answer[:n], []byte("HTTP/1.1 "+fmt.Sprint(http.StatusOK))) {
			t.Errorf("request %d: %v %s", i, err, answer[:n])
		}
	}
}
