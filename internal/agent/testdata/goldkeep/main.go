// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Command goldkeep stands in for the real one in the tests of `goldkeep run`.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/goldkeep/goldkeep/internal/agent"
)

func main() {
	exit, err := agent.Launch(context.Background(), agent.LaunchOptions{
		Socket: os.Args[1], Args: os.Args[2:], Env: append(os.Environ(), "OWN=1"), Grace: 500 * time.Millisecond,
		OnRevoke: os.Getenv("ON_REVOKE"), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	})
	if err != nil {
		fmt.Println("refused:", err)
		os.Exit(1)
	}
	os.Exit(exit)
}
