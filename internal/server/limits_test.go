// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/listener"
)

// TestLargeBodiesOfStrangers: who has no token cannot make the server hold more
// than a little, and whoever has one is served as before.
func TestLargeBodiesOfStrangers(t *testing.T) {
	w := newWorld(t, nil)
	large := `{"data":{"a":"` + strings.Repeat("x", 200<<10) + `"}}`
	stranger := w.client.WithToken("gks.nobody")
	for _, path := range []string{"/v1/secret/data/a", "/api/v1/apply", "/v1/sys/storage/raft/snapshotX", "/v1/sys/storage/raft/snapshot/x"} {
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

// TestConnectionsAreBounded: who comes when all places are taken is hung up on,
// and a place that is left can be taken again.
func TestConnectionsAreBounded(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := listener.Limit(inner, 2)
	defer func() { _ = l.Close() }()
	accepted := make(chan net.Conn, 4)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	dial()
	dial()
	first, _ := <-accepted, <-accepted
	third := dial()
	_ = third.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := third.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("the third connection: %v", err)
	}
	for range 2 { // closing twice frees one place only
		_ = first.Close()
	}
	dial()
	<-accepted
	fifth := dial()
	_ = fifth.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := fifth.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("the fifth connection: %v", err)
	}
}

// TestStopDoesNotWaitForWatchers: an agent that waits for news does not hold the
// end of the server up.
func TestStopDoesNotWaitForWatchers(t *testing.T) {
	w := newWorld(t, nil)
	sent, answered := make(chan struct{}), make(chan error, 1)
	go func() {
		ctx := httptrace.WithClientTrace(context.Background(), &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { close(sent) }})
		_, err := w.client.Watch(ctx, "web1", 0, 0, 50*time.Second)
		answered <- err
	}()
	<-sent
	for range 10 { // by then the watch is under way
		if _, err := w.client.Images(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	if err := w.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 40*time.Second {
		t.Errorf("stopping took %s: it waited for the watcher", took)
	}
	if err := <-answered; err != nil {
		t.Errorf("the watcher is answered with %v", err)
	}
	if strings.Contains(w.log.String(), "ERROR") {
		t.Errorf("the log says:\n%s", w.log.String())
	}
}
