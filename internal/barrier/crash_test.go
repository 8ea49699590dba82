// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package barrier_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("BARRIER_TEST_CHILD"); dir != "" {
		if err := childRotator(dir, os.Getenv("BARRIER_TEST_ROUND")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// childRotator writes and rotates for ever, and prints what it has written.
func childRotator(dir, round string) error {
	ctx := context.Background()
	st, err := sqlite.Open(ctx, filepath.Join(dir, "goldkeep.db"), sqlite.Options{})
	if err != nil {
		return err
	}
	b, err := barrier.Open(ctx, st)
	if err != nil {
		return err
	}
	_, _ = b.Init(ctx, barrier.InitOptions{KeyFile: keyFile}) // conflict from the second round on
	if err := b.UnsealWithFile(ctx, keyFile); err != nil {
		return err
	}
	for n := 0; ; n++ {
		path := fmt.Sprintf("round%s/%d", round, n)
		err := b.Space().Update(ctx, func(w barrier.Writer) error {
			return w.Put(ctx, barrier.Entry{Path: path, Value: []byte(path)})
		})
		if err != nil {
			return err
		}
		fmt.Println(path)
		if err := b.Rotate(ctx); err != nil {
			return err
		}
	}
}

// TestKilledWhileRotating kills a rotating server at any moment, again and again:
// all that it said it had written can be read.
func TestKilledWhileRotating(t *testing.T) {
	dir := t.TempDir()
	var written []string
	for round := range 5 {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
		child.Env = append(os.Environ(), "BARRIER_TEST_CHILD="+dir, fmt.Sprint("BARRIER_TEST_ROUND=", round))
		out, err := child.StdoutPipe()
		must(t, err)
		must(t, child.Start())
		lines := bufio.NewScanner(out)
		for range 5 + round*3 {
			if !lines.Scan() {
				t.Fatalf("the server ended by itself: %v", child.Wait())
			}
			written = append(written, lines.Text())
		}
		must(t, child.Process.Kill())
		_ = child.Wait() // killed
	}
	b := open(t, storetest.SQLiteAt(t, filepath.Join(dir, "goldkeep.db")))
	for _, path := range written {
		if got, _ := get(t, b.Space(), path); got != path {
			t.Errorf("%s is %q", path, got)
		}
	}
	if got := int(term(t, b)); got < len(written)-5 {
		t.Errorf("term %d after %d writes", got, len(written))
	}
}
