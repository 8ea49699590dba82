// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// TestDatabaseDiskFull fills the disk of the database under a running server, so that
// a change fails at any point of its way. What was acknowledged is there while the
// disk is full, when there is room again, and after kill -9.
func TestDatabaseDiskFull(t *testing.T) {
	const writers, most = 4, 4000
	s := newServer(t, func(s *server, c config) {
		dir := s.path("data")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=12m,mode=0700"); err != nil {
			t.Fatalf("this test mounts a file system, run it as root: %v", err)
		}
		t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
		// No head room: the database is to run into the end of the disk.
		c["audit"] = map[string]any{"file": s.path("audit.log"), "minFree": 1, "headRoom": 1}
	})
	value := func(writer, n int) string { return fmt.Sprintf("%d-%d-%s", writer, n, strings.Repeat("x", 8<<10)) }
	path := func(writer, n int) string { return fmt.Sprintf("/v1/secret/data/%d/%d", writer, n) }
	var acknowledged [writers]int // the first so many of each are there
	var refused atomic.Bool
	write := func(writer, n int) int {
		status, _ := s.ask(s.root, "POST", path(writer, n), `{"data":{"v":"`+value(writer, n)+`"}}`)
		return status
	}
	var work sync.WaitGroup
	for writer := range writers {
		work.Go(func() {
			for n := range most {
				if write(writer, n) != 200 {
					refused.Store(true)
					return
				}
				acknowledged[writer] = n + 1
			}
		})
	}
	work.Wait()
	if !refused.Load() {
		t.Fatal("the disk did not become full")
	}
	t.Logf("acknowledged: %v", acknowledged)
	check := func(when string) {
		t.Helper()
		for writer, count := range acknowledged {
			for n := range count {
				if status, body := s.ask(s.root, "GET", path(writer, n), ""); status != 200 || !strings.Contains(body, value(writer, n)) {
					t.Fatalf("%s: %d of writer %d is answered with %d %.200s", when, n, writer, status, body)
				}
			}
		}
	}
	check("while the disk is full")
	if status, body := s.ask("", "GET", "/v1/sys/health", ""); status == 0 {
		t.Errorf("health: %s", body)
	}
	if err := unix.Mount("", s.path("data"), "", unix.MS_REMOUNT, "size=64m,mode=0700"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "changes are taken again", func() bool { return write(writers, 0) == 200 })
	check("with room again")
	s.kill()
	s.start()
	check("after kill -9")
	if status, body := s.ask(s.root, "GET", path(writers, 0), ""); status != 200 || !strings.Contains(body, value(writers, 0)) {
		t.Errorf("%d %.200s", status, body)
	}
	if got := cli(t, nil, "", "audit", "verify", s.path("audit.log")); got.code != 0 {
		t.Error(errors.New(got.errors))
	}
}
