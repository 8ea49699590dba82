// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package keeper is the part of the command line for secrets and for those who keep
// the server: goldkeep kv, login, operator, audit and status.
package keeper

import (
	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/internal/term"
)

// commands makes the commands.
type commands struct{ *term.Term }

// ForPeople returns the commands of those who use secrets.
func ForPeople(t *term.Term) []*cobra.Command {
	a := &commands{t}
	return []*cobra.Command{a.kvCommand(), a.loginCommand()}
}

// ForOperators returns the commands of those who run the server.
func ForOperators(t *term.Term, off Offline) []*cobra.Command {
	a := &commands{t}
	return []*cobra.Command{a.operatorCommand(off), a.auditCommand(), a.policyCommand(), a.statusCommand()}
}
