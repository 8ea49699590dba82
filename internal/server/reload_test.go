// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/goldkeep/goldkeep/internal/server"
)

// hangUp sends SIGHUP until the server's log says that it was heard.
func (w *world) hangUp(says string) {
	w.t.Helper()
	own := make(chan os.Signal, 1) // or it would end the test while the server does not listen yet
	signal.Notify(own, syscall.SIGHUP)
	defer signal.Stop(own)
	before := strings.Count(w.log.String(), says)
	eventually(w.t, "the log says: "+says, func() bool {
		if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
			w.t.Fatal(err)
		}
		return strings.Count(w.log.String(), says) > before
	})
}

// serial is that of the certificate the server shows.
func (w *world) serial() string {
	w.t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(w.url, "https://"), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // which one it is is the question
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// TestHangUp: SIGHUP reads the certificate and the log's level again, and what is not
// understood changes nothing.
func TestHangUp(t *testing.T) {
	level := &slog.LevelVar{}
	file := filepath.Join(t.TempDir(), "server.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("log: {level: info}\n")
	w := newWorld(t, func(c *server.Config) { c.File, c.Level = file, level })
	first := w.serial()
	made, err := filepath.Glob(filepath.Join(w.config.Data, "tls", "*"))
	if err != nil || len(made) == 0 {
		t.Fatalf("%v, %v", made, err)
	}
	for _, name := range made {
		if !strings.HasPrefix(filepath.Base(name), "ca") {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	write("log: {level: debug}\n")
	w.hangUp("were read again")
	if w.serial() == first || level.Level() != slog.LevelDebug {
		t.Errorf("certificate %s after %s, level %s", w.serial(), first, level.Level())
	}
	second := w.serial()
	write("log: {level: loud}\n")
	w.hangUp("log.level must be")
	if w.serial() != second || level.Level() != slog.LevelDebug {
		t.Errorf("a damaged file: certificate %s after %s, level %s", w.serial(), second, level.Level())
	}
	if _, err := w.client.SealStatus(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestPidFile: it is there while the server runs, and gone afterwards.
func TestPidFile(t *testing.T) {
	dir := t.TempDir()
	file, pid := filepath.Join(dir, "server.yaml"), filepath.Join(dir, "pid")
	text := "listen: 127.0.0.1:0\ndata: " + filepath.Join(dir, "data") + "\npidFile: " + pid + "\naudit: {minFree: 1}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	cmd := server.Command()
	log := &buffer{}
	cmd.SetArgs([]string{"--config", file})
	cmd.SetErr(log)
	cmd.SetOut(io.Discard)
	ended := make(chan error, 1)
	go func() { ended <- cmd.ExecuteContext(ctx) }()
	eventually(t, "the server listens", func() bool { return strings.Contains(log.String(), "goldkeep is listening") })
	if got, err := os.ReadFile(pid); err != nil || strings.TrimSpace(string(got)) != strconv.Itoa(os.Getpid()) {
		t.Errorf("%q, %v", got, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(pid); !os.IsNotExist(err) {
		t.Errorf("%v", err)
	}
}
