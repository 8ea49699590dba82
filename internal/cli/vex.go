// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/scan"
	"github.com/goldkeep/goldkeep/internal/term"
	"github.com/goldkeep/goldkeep/internal/verdict"
	"github.com/goldkeep/goldkeep/internal/vex"
)

func (a *app) vexCommand() *cobra.Command {
	return term.Group("vex", "Statements that a flaw does not count: exchange decisions, believe vendors",
		a.vexExportCommand(), a.vexImportCommand(), a.vexSyncCommand(), a.vexVendorsCommand(), a.vexForgetCommand())
}

// believe takes in what vendors say and what the documents handed in do.
func (a *app) believe(ctx context.Context, ev *verdict.Evidence, advisories scan.Advisories, img *image.Image, paths []string) error {
	if db, ok := advisories.(*database); ok {
		if err := db.vendors.Apply(ctx, ev.Findings); err != nil {
			return err
		}
	}
	target := vex.Target{Digests: []string{string(img.ID)}, Name: img.Name}
	for _, d := range img.Manifests {
		target.Digests = append(target.Digests, string(d))
	}
	for _, path := range paths {
		doc, err := readVEX(path)
		if err != nil {
			return err
		}
		used := scan.Believe(ev, []*vex.Document{doc}, target)
		a.Note("%s: %d of %d statements are for this image", path, used, len(doc.Statements))
	}
	return nil
}

func readVEX(path string) (*vex.Document, error) {
	text, err := readText(path)
	if err != nil {
		return nil, err
	}
	doc, err := vex.Parse(text)
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "%s: %w", path, err)
	}
	return doc, nil
}

func readText(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fault.New(fault.NotFound, "read VEX document: %w", err)
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, vex.MaxDocument+1))
	if err != nil {
		return nil, fault.New(fault.Invalid, "read VEX document: %w", err)
	}
	return text, nil
}

// scopeFlags name what a document is for.
type scopeFlags struct{ image, golden, workload string }

func (o *scopeFlags) add(cmd *cobra.Command, what string) {
	f := cmd.Flags()
	f.StringVar(&o.image, "image", "", what+" an image, by digest")
	f.StringVar(&o.golden, "golden", "", what+" a golden image")
	f.StringVar(&o.workload, "workload", "", what+" a workload")
}

func (a *app) vexExportCommand() *cobra.Command {
	var o scopeFlags
	var all bool
	var format string
	cmd := &cobra.Command{
		Use: "export --image DIGEST|--golden NAME|--workload NAME|--all", Short: "Write the decisions that count now as a VEX document", Args: term.Wanted(),
		Long: "Write the decisions on findings that count now as a VEX document. It holds everything\n" +
			"there is to know of them: importing it again elsewhere loses nothing. docs/triage.md\n" +
			"says what stands where.",
		Example: "  goldkeep vex export --golden shop > shop.openvex.json\n  goldkeep vex export --all --format cyclonedx > all.cdx.json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if given := strings.Join([]string{o.image, o.golden, o.workload}, ""); (given == "") != all {
				return term.Usage(cmd, "say what to write: one of --image, --golden, --workload and --all")
			}
			c, err := a.Client()
			if err != nil {
				return err
			}
			doc, err := c.ExportVEX(cmd.Context(), o.image, o.golden, o.workload, format)
			if err != nil {
				return err
			}
			return term.WriteJSON(a.Out, doc)
		},
	}
	o.add(cmd, "what counts for")
	cmd.Flags().BoolVar(&all, "all", false, "every decision")
	cmd.Flags().StringVar(&format, "format", "openvex", "openvex or cyclonedx")
	return cmd
}

func (a *app) vexImportCommand() *cobra.Command {
	var o scopeFlags
	var expires string
	var try bool
	cmd := &cobra.Command{
		Use: "import FILE", Short: "Take decisions from a VEX document, and say of each statement what became of it", Args: term.Wanted("FILE"),
		Long: "Take decisions on findings from a VEX document (OpenVEX, CycloneDX 1.4 to 1.6, CSAF), and\n" +
			"say of each statement what became of it. All that can be taken is, or nothing where a\n" +
			"statement is faulty. Every decision needs an end: --expires is for those without one.\n" +
			"--image, --golden or --workload is for statements on products the server does not know.",
		Example: "  goldkeep vex import shop.openvex.json --expires 30d\n  goldkeep vex import upstream.cdx.json --golden shop --expires 2w --try",
		RunE: func(cmd *cobra.Command, args []string) error {
			in := client.VEXImport{Image: o.image, Golden: o.golden, Workload: o.workload, Try: try}
			if expires != "" {
				end, err := ending(cmd, expires, time.Now())
				if err != nil {
					return err
				}
				in.Expires = end
			}
			doc, err := readText(args[0])
			if err != nil {
				return err
			}
			in.Document = string(doc)
			c, err := a.Client()
			if err != nil {
				return err
			}
			out, err := c.ImportVEX(cmd.Context(), in)
			if err != nil {
				return err
			}
			return a.Print(out, func(t *term.Table) { showImported(t, out) })
		},
	}
	o.add(cmd, "what to take statements on unknown products for:")
	cmd.Flags().StringVar(&expires, "expires", "", "how long statements without an end hold: 72h, 30d, 2w; or a date")
	cmd.Flags().BoolVar(&try, "try", false, "only say what would be taken")
	return cmd
}

func showImported(t *term.Table, out *client.VEXImported) {
	t.Row("STATEMENT", "FLAW", "SAYS", "TAKEN FOR", "UNTIL", "NOT TAKEN")
	for _, s := range out.Statements {
		if len(s.Triage) == 0 {
			t.Row(s.At, s.Flaw, s.Status, "", "", s.Why)
		}
		for _, d := range s.Triage {
			t.Row(s.At, s.Flaw, d.Status, term.First(d.Golden, d.Workload, d.Image), d.Expires, s.Why)
		}
	}
}

func (a *app) vexSyncCommand() *cobra.Command {
	var from, path string
	var about []string
	var server bool
	cmd := &cobra.Command{
		Use: "sync VENDOR --from FOLDER|FILE|URL", Short: "Believe what a vendor's VEX documents say of its packages", Args: term.Wanted("VENDOR"),
		Long: "Believe what a vendor's VEX documents (OpenVEX, CycloneDX, CSAF) say of its packages: a\n" +
			"finding that its newest statement calls not affected, or fixed, does not count, and shows\n" +
			"the vendor's reason. The documents given replace all that was there of the vendor. An\n" +
			"address is one document or a zip file. Only documents somebody brings this way count.\n\n" +
			"--about says which packages the vendor may speak of, by the beginning of their package URLs;\n" +
			"what it says of others is not taken. It is needed the first time.",
		Example: "  goldkeep vex sync wolfi --from ./vex/wolfi --about pkg:apk/wolfi\n" +
			"  goldkeep vex sync debian --from https://vex.example.com/debian.zip --about pkg:deb/debian --server",
		RunE: func(cmd *cobra.Command, args []string) error {
			files, done, err := vex.Source(cmd.Context(), from, a.Getenv("TMPDIR"))
			if err != nil {
				return err
			}
			defer done()
			if server {
				return a.Online(func(ctx context.Context, c *client.Client, args []string) error {
					change, err := uploadVendor(ctx, c, vex.Feed{Vendor: args[0], About: about}, files)
					return a.showVendorChange(change, err)
				})(cmd, args)
			}
			db, err := openDatabase(cmd.Context(), a.databasePath(path))
			if err != nil {
				return err
			}
			defer func() { _ = db.close() }()
			change, err := db.vendors.Import(cmd.Context(), vex.Feed{Vendor: args[0], About: about}, files)
			if err == nil {
				err = db.vendors.Settle(cmd.Context(), change) // nothing is kept that rests on it
			}
			return a.showVendorChange(wire(change), err)
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "where the documents are")
	cmd.Flags().StringSliceVar(&about, "about", nil, "packages the vendor may speak of: pkg:deb/debian, ...; pkg: for all")
	cmd.Flags().BoolVar(&server, "server", false, "send them to the server; without, they are for check")
	addDatabaseFlag(cmd, &path)
	return term.Required(cmd, "from")
}

// uploadVendor packs documents while they are sent.
func uploadVendor(ctx context.Context, c *client.Client, feed vex.Feed, files iter.Seq2[vex.File, error]) (*client.VendorChange, error) {
	packed, write := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = write.CloseWithError(vex.Pack(write, files))
	}()
	change, err := c.UploadVendor(ctx, feed.Vendor, feed.About, packed)
	_ = packed.CloseWithError(context.Canceled) // where the server did not take all
	<-done
	return change, err
}

// wire is a change of the local database as the server tells of its own.
func wire(c vex.Change) *client.VendorChange {
	return &client.VendorChange{
		Vendor: c.Vendor, Documents: c.Documents, Statements: c.Statements, Added: c.Added, Removed: c.Removed,
		NotTaken: c.NotTaken.Count, NotTakenFirst: c.NotTaken.First, Bad: c.Bad.Count, BadFirst: c.Bad.First,
	}
}

func (a *app) showVendorChange(c *client.VendorChange, err error) error {
	if err != nil {
		return err
	}
	return a.Print(c, func(t *term.Table) {
		t.Row("VENDOR", "DOCUMENTS", "STATEMENTS", "NEW", "GONE", "IMAGES JUDGED AGAIN")
		t.Row(c.Vendor, c.Documents, c.Statements, c.Added, c.Removed, c.Images)
		for _, line := range c.BadFirst {
			t.Row("could not be read", line)
		}
		for _, line := range c.NotTakenFirst {
			t.Row("not taken", line)
		}
		if c.NotTaken > len(c.NotTakenFirst) {
			t.Row("not taken", fmt.Sprintf("%d more statements", c.NotTaken-len(c.NotTakenFirst)))
		}
	})
}

func (a *app) vexVendorsCommand() *cobra.Command {
	var from source
	cmd := &cobra.Command{
		Use: "vendors", Short: "List the vendors check believes, or the server", Args: term.Wanted(),
		Long:    "List the vendors whose VEX documents count for check, from the local advisory database.\nWith --server those the server believes.",
		Example: "  goldkeep vex vendors\n  goldkeep vex vendors --server",
		RunE: func(cmd *cobra.Command, _ []string) error {
			vendors, err := a.vendors(cmd.Context(), from)
			if err != nil {
				return err
			}
			return term.PrintList(a.Term, vendors, "vendors", func(t *term.Table) {
				t.Row("VENDOR", "MAY SPEAK OF", "DOCUMENTS", "STATEMENTS", "NEWEST", "SYNCED", "NEXT TRY", "NOTE")
				for _, v := range vendors {
					next, note := "", ""
					if v.Try != nil {
						next, note = term.Moment(v.Try.Next), v.Try.Error
					}
					t.Row(v.Name, strings.Join(v.About, " "), v.Documents, v.Statements, v.Newest, v.Synced, next, note)
				}
			})
		},
	}
	from.flags(cmd)
	return cmd
}

func (a *app) vendors(ctx context.Context, from source) ([]client.Vendor, error) {
	if from.server {
		c, err := a.Client()
		if err != nil {
			return nil, err
		}
		return c.Vendors(ctx)
	}
	db, err := openExisting(ctx, a.databasePath(from.path))
	if err != nil {
		return nil, err
	}
	defer func() { _ = db.close() }()
	held, err := db.vendors.Vendors(ctx)
	out := []client.Vendor{}
	for _, v := range held {
		out = append(out, client.Vendor{
			Name: v.Name, Documents: v.Documents, Statements: v.Statements, Newest: v.Newest, Synced: v.Synced, About: v.About, Try: (*client.VendorTry)(v.Try),
		})
	}
	return out, err
}

func (a *app) vexForgetCommand() *cobra.Command {
	var path string
	var server bool
	cmd := &cobra.Command{
		Use: "forget VENDOR", Short: "Believe a vendor no more; its findings count again", Args: term.Wanted("VENDOR"),
		Example: "  goldkeep vex forget wolfi\n  goldkeep vex forget wolfi --server",
		RunE: func(cmd *cobra.Command, args []string) error {
			if server {
				return a.Online(func(ctx context.Context, c *client.Client, args []string) error {
					change, err := c.ForgetVendor(ctx, args[0])
					return a.showVendorChange(change, err)
				})(cmd, args)
			}
			db, err := openExisting(cmd.Context(), a.databasePath(path))
			if err != nil {
				return err
			}
			defer func() { _ = db.close() }()
			change, err := db.vendors.Remove(cmd.Context(), args[0])
			if err == nil {
				err = db.vendors.Settle(cmd.Context(), change)
			}
			return a.showVendorChange(wire(change), err)
		},
	}
	cmd.Flags().BoolVar(&server, "server", false, "at the server; without, for check")
	addDatabaseFlag(cmd, &path)
	return cmd
}
