// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package snapshot_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/snapshot"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("SNAPSHOT_TEST_CHILD"); dir != "" {
		childLoader(dir)
	}
	os.Exit(m.Run())
}

// childLoader loads the snapshot of a folder into its database, for ever.
func childLoader(dir string) {
	ctx := context.Background()
	fail := func(err error) {
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	st, err := sqlite.Open(ctx, filepath.Join(dir, "db"), sqlite.Options{})
	fail(err)
	file, err := os.Open(filepath.Join(dir, "snapshot"))
	fail(err)
	s, err := snapshot.Open(file, dir, nil)
	fail(err)
	for {
		fmt.Println("begin")
		fail(s.Load(ctx, st, steps))
	}
}

// TestKilledRestore: killed at any moment, the database holds the old or the new.
func TestKilledRestore(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "db")
	st, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	fill(t, st)
	if err := os.WriteFile(filepath.Join(dir, "snapshot"), save(t, st), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	for range rounds {
		if st, err = sqlite.Open(t.Context(), path, sqlite.Options{}); err != nil {
			t.Fatal(err)
		}
		run(t, st, "DELETE FROM thing WHERE n > ?", -1<<62) // one row is left: the old content
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "SNAPSHOT_TEST_CHILD="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		if !lines.Scan() || lines.Text() != "begin" {
			t.Fatalf("the child says %q", lines.Text())
		}
		kill := time.NewTimer(time.Duration(rand.IntN(8000)) * time.Microsecond)
		<-kill.C
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if st, err = sqlite.Open(t.Context(), path, sqlite.Options{}); err != nil {
			t.Fatal(err)
		}
		if n := count(t, st); n != 121 && n != 1 {
			t.Errorf("%d rows: neither the old nor the new", n)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
