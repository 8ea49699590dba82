// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/server"
)

// world is a whole server, started as main starts it.
type world struct {
	t      *testing.T
	dir    string
	config server.Config
	log    *buffer
	stop   func() error
	client *client.Client // as root
	root   string
	url    string
}

// buffer is a log that can be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// newWorld starts a server with a key file and TLS by its own CA.
func newWorld(t *testing.T, edit func(*server.Config)) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), log: &buffer{}}
	w.config = server.Config{
		Listen: "127.0.0.1:0", Data: filepath.Join(w.dir, "data"), KeyFile: filepath.Join(w.dir, "key"), Node: "test",
		Audit: server.Audit{MinFree: 1 << 20},
	}
	if edit != nil {
		edit(&w.config)
	}
	w.start()
	t.Cleanup(func() { _ = w.stop() })
	return w
}

func (w *world) start() {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := server.New(ctx, w.config, slog.New(slog.NewTextHandler(w.log, nil)))
	if err != nil {
		cancel()
		w.t.Fatal(err)
	}
	w.url = s.URL()
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	w.stop = sync.OnceValue(func() error { cancel(); return <-ended })
	if token, err := os.ReadFile(filepath.Join(w.config.Data, "root-token")); err == nil {
		w.root = strings.TrimSpace(string(token))
	}
	eventually(w.t, "the server answers", func() bool {
		if s.CAFile() != "" {
			if _, err := os.Stat(s.CAFile()); err != nil {
				return false
			}
		}
		w.client, err = client.New(client.Config{Addr: s.URL(), Token: w.root, CACert: s.CAFile()})
		if err != nil {
			return false
		}
		_, err = w.client.SealStatus(ctx)
		return err == nil
	})
}

// restart stops the server as an operator would, and starts it again.
func (w *world) restart() {
	w.t.Helper()
	if err := w.stop(); err != nil {
		w.t.Fatal(err)
	}
	w.start()
}

// eventually waits until something is so, without sleeping blindly: it looks
// again and again, and gives up after a generous bound.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	bound := time.NewTimer(30 * time.Second)
	look := time.NewTicker(20 * time.Millisecond)
	defer bound.Stop()
	defer look.Stop()
	for !is() {
		select {
		case <-bound.C:
			t.Fatalf("it never came that %s", what)
		case <-look.C:
		}
	}
}
