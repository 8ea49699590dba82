// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"

	"github.com/goldkeep/goldkeep/internal/term"
)

// overview is what "status" answers.
type overview struct {
	Server     string            `json:"server"`
	Seal       client.SealStatus `json:"seal"`
	Advisories *client.Snapshot  `json:"advisories,omitempty"`
	Instances  map[string]int    `json:"instances,omitempty"` // by state
}

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Show how the server is: sealed or not, how old its advisories are, what runs", Args: term.Wanted(),
		Long: "Show how the server is. Without a token that may see more, only the seal is shown.\n" +
			"The exit code is 5 where the server is sealed or does not answer.",
		Example: "  goldkeep status\n  goldkeep status -o json | jq .instances",
		RunE: a.Online(func(ctx context.Context, c *client.Client, _ []string) error {
			o, err := look(ctx, c)
			if err != nil {
				return err
			}
			if err := a.Print(o, func(t *term.Table) { showOverview(t, o, time.Now()) }); err != nil {
				return err
			}
			return a.sealedCode(&o.Seal)
		}),
	}
}

// look asks for everything; what the token may not see is left out.
func look(ctx context.Context, c *client.Client) (*overview, error) {
	seal, err := c.SealStatus(ctx)
	if err != nil {
		return nil, err
	}
	o := &overview{Server: c.Addr(), Seal: *seal}
	if seal.Sealed || !seal.Initialized {
		return o, nil
	}
	o.Advisories, err = c.Advisories(ctx)
	var instances []client.Instance
	if err == nil {
		instances, err = c.Instances(ctx, false)
	}
	if client.KindOf(err) == fault.Denied.String() {
		return o, nil
	}
	if err != nil {
		return nil, err
	}
	o.Instances = map[string]int{}
	for _, i := range instances {
		o.Instances[i.State]++
	}
	return o, nil
}

func showOverview(t *term.Table, o *overview, now time.Time) {
	t.Row("server", o.Server)
	sealRows(t, &o.Seal)
	if o.Advisories != nil {
		text := "none; send some with: goldkeep advisory sync --from DIR --server"
		if len(o.Advisories.Feeds) > 0 {
			oldest, records := o.Advisories.Feeds[0].Synced, 0
			for _, f := range o.Advisories.Feeds {
				records += f.Records
				if f.Synced.Before(oldest) {
					oldest = f.Synced
				}
			}
			text = fmt.Sprintf("%d records in %d feeds, synced %s", records, len(o.Advisories.Feeds), ago(now.Sub(oldest)))
		}
		t.Row("advisories", text)
	}
	if o.Instances != nil {
		var states []string
		for _, s := range sortedKeys(o.Instances) {
			states = append(states, fmt.Sprintf("%d %s", o.Instances[s], s))
		}
		t.Row("instances", term.First(strings.Join(states, ", "), "none"))
	}
}

// ago says how long ago something was.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return fmt.Sprintf("%d minutes ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d hours ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

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
