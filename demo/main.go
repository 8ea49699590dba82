// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Command demo plays the story of "make demo": a clean image gets its secret, a
// flawed one is refused, a new advisory takes a running workload's secret away,
// and the patched image gets it back. Everything is real: the programs, the
// module versions with their flaws, the server, the agent; and everything it
// starts and writes is gone when it ends.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo: error:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	if len(os.Args) != 2 {
		return errors.New("usage: demo PATH-OF-GOLDKEEP (make demo does it)")
	}
	binary, err := filepath.Abs(os.Args[1])
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(memory(), "goldkeep-demo-")
	if err != nil {
		return err
	}
	s := &stage{binary: binary, dir: dir, work: dir, out: os.Stdout}
	defer func() { err = errors.Join(err, s.close()) }()
	for _, act := range []func(context.Context) error{
		s.prologue, s.clean, s.flawed, s.news, s.patched, s.epilogue,
	} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}

// memory is a folder in memory, where the machine has one.
func memory() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return ""
}
