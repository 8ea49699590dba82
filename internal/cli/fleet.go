// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/term"
)

func (a *app) affectedCommand() *cobra.Command {
	cmd := term.Showing[*client.Affected]{
		Use: "affected", Short: "List what an advisory hits on the server, and who to call",
		Example: "  goldkeep advisory affected CVE-2026-1234\n  goldkeep advisory affected DSA-6335-1 -o json | jq -r '.workloads[] | .name + \" \" + .contact'",
		Ask:     (*client.Client).Affected,
		Fill:    showAffected,
	}.Command(a.Term, "ID")
	cmd.Long = "List the images, channels of golden images, workloads and running instances that an\n" +
		"advisory hits, by its id or another name of the flaw, with the owners to call. The server\n" +
		"looks it up in an index; triage is not looked at."
	return cmd
}

func showAffected(t *term.Table, hit *client.Affected) {
	for _, f := range hit.Flaws {
		for _, v := range f.Versions {
			t.Row("flaw", f.ID, f.Ecosystem, f.Package+" "+v)
		}
	}
	for _, c := range hit.Channels {
		t.Row("golden image", c.Golden+" "+c.Channel, callTo(c.Owner, c.Contact), c.Image)
	}
	for _, w := range hit.Workloads {
		t.Row("workload", w.Name, callTo(w.Owner, w.Contact), w.Environment)
	}
	for _, in := range hit.Instances {
		t.Row("instance", in.ID, callTo(in.Owner, ""), in.Workload+" on "+in.Node)
	}
	for _, i := range hit.Images {
		t.Row("image", i.Name, "", i.ID)
	}
	t.Row("in all", many(hit.Total, "image")+", "+many(len(hit.Workloads), "workload")+", "+many(len(hit.Instances), "running instance"))
}

func many(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func callTo(owner, contact string) string {
	if contact != "" {
		return owner + " (" + contact + ")"
	}
	return owner
}

func (a *app) imageDiffCommand() *cobra.Command {
	return &cobra.Command{
		Use: "diff A B", Short: "Show how image B differs from image A", Args: term.Wanted("A", "B"),
		Long:    "Show how image B differs from image A: packages with the layer that brought them,\nfindings, facts and settings. Both are digests of images the server knows.",
		Example: "  goldkeep image diff sha256:4f7c... sha256:9a01...\n  goldkeep image diff $OLD $NEW -o json | jq -r '.new[]'",
		RunE: a.Online(func(ctx context.Context, c *client.Client, args []string) error {
			d, err := c.DiffImages(ctx, args[0], args[1])
			if err != nil {
				return err
			}
			if a.Output == "table" && len(d.Packages)+len(d.Gone)+len(d.New)+len(d.FactsGone)+len(d.FactsNew)+len(d.Settings) == 0 {
				a.Note("they do not differ in packages, findings, facts or settings")
				return nil
			}
			return a.Print(d, func(t *term.Table) { showDiff(t, d) })
		}),
	}
}

func showDiff(t *term.Table, d *client.ImageDiff) {
	for _, p := range d.Packages {
		switch {
		case p.From == "":
			t.Row("+ package", p.Name, p.To, fmt.Sprintf("layer %d", p.Layer))
		case p.To == "":
			t.Row("- package", p.Name, p.From, fmt.Sprintf("layer %d", p.Layer))
		default:
			t.Row("~ package", p.Name, p.From+" -> "+p.To, fmt.Sprintf("layer %d", p.Layer))
		}
	}
	lists := []struct {
		sign  string
		lines []string
	}{{"- finding", d.Gone}, {"+ finding", d.New}, {"- fact", d.FactsGone}, {"+ fact", d.FactsNew}}
	for _, l := range lists {
		for _, line := range l.lines {
			t.Row(l.sign, line)
		}
	}
	for _, s := range d.Settings {
		t.Row("~ "+s.Name, s.From, "->", s.To)
	}
}
