// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/internal/term"
)

// build is what "version" answers.
type build struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func (a *app) version() build {
	b := build{Version: term.First(a.Version, "devel"), Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok && a.Version == "" {
		b.Version = term.First(strings.Trim(info.Main.Version, "()"), b.Version)
	}
	return b
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the version of this program", Args: term.Wanted(),
		Example: "  goldkeep version",
		RunE: func(*cobra.Command, []string) error {
			b := a.version()
			return a.Print(b, func(t *term.Table) { t.Fields(b) })
		},
	}
}
