// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package keeper

import (
	"context"
	"fmt"
	"maps"
	"slices"
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
	Failing    []string          `json:"failing,omitempty"` // parts that do not work, audit devices
	Advisories *client.Snapshot  `json:"advisories,omitempty"`
	Instances  map[string]int    `json:"instances,omitempty"` // by state
}

func (a *commands) statusCommand() *cobra.Command {
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
	if health, err := c.Health(ctx); err == nil { // an older server says less
		o.Failing = health.Failing
		for _, device := range health.FailingDevices {
			o.Failing = append(o.Failing, "audit device "+device)
		}
	}
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
	if len(o.Failing) > 0 {
		t.Row("failing", strings.Join(o.Failing, ", "))
	}
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
			text = fmt.Sprintf("%d records in %d feeds, synced %s", records, len(o.Advisories.Feeds), term.Ago(now.Sub(oldest)))
		}
		t.Row("advisories", text)
	}
	if o.Instances != nil {
		var states []string
		for _, s := range slices.Sorted(maps.Keys(o.Instances)) {
			states = append(states, fmt.Sprintf("%d %s", o.Instances[s], s))
		}
		t.Row("instances", term.First(strings.Join(states, ", "), "none"))
	}
}
