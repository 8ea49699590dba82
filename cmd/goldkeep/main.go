// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Command goldkeep checks images, and gives secrets only to those that pass.
// Everything is in the rooms below internal; this wires them to the terminal.
package main

import (
	"context"
	"os"
	"os/signal"
	"strings"
	"syscall"

	xterm "golang.org/x/term"

	"github.com/goldkeep/goldkeep/internal/cli"
	"github.com/goldkeep/goldkeep/internal/server"
	"github.com/goldkeep/goldkeep/internal/term"
)

//go:generate go test . -run TestReference -update

func main() {
	os.Exit(run())
}

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	return cli.Main(ctx, dashes(os.Args[1:]), terminal(), doors())
}

// dashes lets "goldkeep server -config=FILE" be written as for Vault and OpenBao,
// whose long flags have one dash.
func dashes(args []string) []string {
	if len(args) == 0 || args[0] != "server" {
		return args
	}
	same := append([]string(nil), args...)
	for i, a := range same {
		name, _, _ := strings.Cut(a, "=")
		if len(name) > 2 && name[0] == '-' && name[1] != '-' {
			same[i] = "-" + a
		}
	}
	return same
}

// terminal is this process's standard streams.
func terminal() term.IO {
	std := term.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv, Version: server.Version}
	std.Terminal = xterm.IsTerminal(int(os.Stderr.Fd()))
	if width, _, err := xterm.GetSize(int(os.Stderr.Fd())); err == nil {
		std.Width = width
	}
	return std
}

// doors are the commands other rooms make.
func doors() cli.Doors {
	return cli.Doors{Server: server.Command, Agent: agentCommand, Run: runCommand, Offline: server.Offline()}
}
