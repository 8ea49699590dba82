// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/vex"
)

// vexOperations are those on VEX documents and on the vendors that make them.
func (e *Engine) vexOperations() []operation {
	return []operation{
		{
			method: "GET", path: "/api/v1/vex/export", summary: "Write decisions on findings as a VEX document",
			do: e.exportVEX, out: object{}, query: []string{"image", "golden", "workload", "format"}, sealed: true,
		},
		{
			method: "POST", path: "/api/v1/vex/import", summary: "Take decisions on findings from a VEX document",
			do: e.importVEX, in: client.VEXImport{}, out: client.VEXImported{},
		},
		{
			method: "GET", path: "/api/v1/vex/vendors", summary: "List the vendors whose VEX statements count",
			do: e.listVendors, out: items[client.Vendor]{}, sealed: true,
		},
		{
			method: "PUT", path: "/api/v1/vex/vendors/{vendor}", summary: "Send all VEX documents of a vendor: a zip file, or one document",
			do: e.putVendor, out: client.VendorChange{}, query: []string{"about"}, stream: true,
		},
		{
			method: "DELETE", path: "/api/v1/vex/vendors/{vendor}", summary: "Believe a vendor no more",
			do: e.deleteVendor, out: client.VendorChange{},
		},
	}
}

func (e *Engine) exportVEX(ctx context.Context, c *call) (any, error) {
	write := map[string]func(vex.Document) ([]byte, error){"": vex.WriteOpenVEX, "openvex": vex.WriteOpenVEX, "cyclonedx": vex.WriteCycloneDX}[c.param("format")]
	if write == nil {
		return nil, fault.New(fault.Invalid, "the format %.80q is not one of openvex, cyclonedx", c.param("format"))
	}
	doc, err := e.o.Catalog.ExportTriage(ctx, catalog.Export{
		Image: c.param("image"), Golden: c.param("golden"), Workload: c.param("workload"), By: whoIs(c.Subject),
	})
	if err != nil {
		return nil, err
	}
	text, err := write(doc)
	return json.RawMessage(text), err
}

func (e *Engine) importVEX(ctx context.Context, c *call) (any, error) {
	in, err := decode[client.VEXImport](c)
	if err != nil {
		return nil, err
	}
	doc, err := vex.Parse([]byte(in.Document))
	if err != nil {
		return nil, err
	}
	taken, err := e.o.Catalog.ImportTriage(ctx, doc, catalog.Import{
		By: whoIs(c.Subject), Expires: in.Expires, Image: in.Image, Golden: in.Golden, Workload: in.Workload, Try: in.Try,
	})
	if err != nil {
		return nil, err
	}
	out := client.VEXImported{Document: doc.ID, Statements: []client.VEXStatement{}}
	for _, s := range taken {
		shown := client.VEXStatement{At: s.At, Flaw: s.Flaw, Status: string(s.Status), Why: s.Why}
		for _, t := range s.Triage {
			shown.Triage = append(shown.Triage, client.Triage(t))
			if !in.Try {
				if err := e.triaged(ctx, t); err != nil {
					return nil, err
				}
			}
		}
		out.Statements = append(out.Statements, shown)
	}
	return out, nil
}

func (e *Engine) listVendors(ctx context.Context, _ *call) (any, error) {
	return listOf(e.o.Vendors.Vendors(ctx))
}

// putVendor takes a vendor's documents in, then has exactly the images judged again
// that hold a package something else is said of now.
func (e *Engine) putVendor(ctx context.Context, c *call) (any, error) {
	if c.Body == nil {
		return nil, fault.New(fault.Invalid, "the body must be a zip file of VEX documents, or one document")
	}
	file, size, done, err := e.receive(ctx, c.Body)
	if err != nil {
		return nil, err
	}
	defer done()
	change, err := e.o.Vendors.Import(ctx, vex.Feed{Vendor: c.vars["vendor"], About: strings.Fields(c.param("about"))}, vex.Archive(file, size))
	if err != nil {
		return nil, err
	}
	return e.vendorChanged(ctx, change)
}

func (e *Engine) deleteVendor(ctx context.Context, c *call) (any, error) {
	done, err := e.turn(ctx, e.feeds)
	if err != nil {
		return nil, err
	}
	defer done()
	change, err := e.o.Vendors.Remove(ctx, c.vars["vendor"])
	if err != nil {
		return nil, err
	}
	return e.vendorChanged(ctx, change)
}

func (e *Engine) vendorChanged(ctx context.Context, change vex.Change) (any, error) {
	images, err := e.SettleVendor(ctx, change)
	if err != nil {
		return nil, err
	}
	return client.VendorChange{
		Vendor: change.Vendor, Documents: change.Documents, Statements: change.Statements, Added: change.Added, Removed: change.Removed,
		NotTaken: change.NotTaken.Count, NotTakenFirst: change.NotTaken.First, Bad: change.Bad.Count, BadFirst: change.Bad.First, Images: images,
	}, nil
}

// SettleVendor has the images judged again that hold a package a vendor says
// something else of now, and returns how many they were.
func (e *Engine) SettleVendor(ctx context.Context, change vex.Change) (int, error) {
	keys, err := change.Spread(ctx, e.o.Advisories)
	if err != nil {
		return 0, err
	}
	images, err := e.o.Identity.Reweigh(ctx, keys)
	if err != nil {
		return 0, err
	}
	return images, e.o.Vendors.Settle(ctx, change)
}
