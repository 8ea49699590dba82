// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// build is what "version" answers.
type build struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Version is the version of this build, from what the Go tool stamped into it;
// "devel" where it stamped nothing.
func Version() string { return thisBuild().Version }

func thisBuild() build {
	b := build{Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := strings.Trim(info.Main.Version, "()"); v != "" {
		b.Version = v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Revision = s.Value
		}
	}
	return b
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the version of this program", Args: wanted(),
		Example: "  goldkeep version",
		RunE: func(*cobra.Command, []string) error {
			b := thisBuild()
			return a.print(b, func(t *table) {
				t.row("goldkeep", b.Version)
				if b.Revision != "" {
					t.row("revision", b.Revision)
				}
				t.row("go", b.Go)
				t.row("platform", b.Platform)
			})
		},
	}
}
