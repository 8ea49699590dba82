// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/sbom"
	"github.com/goldkeep/goldkeep/internal/scan"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// addBillFlags offers the limits on what a bill of materials may cost.
func addBillFlags(cmd *cobra.Command, l *sbom.Limits) {
	*l = l.WithDefaults()
	cmd.Flags().Var((*size)(&l.Bytes), "max-sbom", "limit: a bill of materials")
	cmd.Flags().IntVar(&l.Components, "max-components", l.Components, "limit: packages of a bill of materials")
}

// billFile returns the file of a bill of materials: ref says sbom:FILE, or names a
// file that begins like one.
func billFile(ref string) (string, bool) {
	if path, ok := strings.CutPrefix(ref, "sbom:"); ok {
		return path, true
	}
	f, err := os.Open(ref)
	if err != nil {
		return "", false
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return "", false
	}
	head := make([]byte, 4096)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", false
	}
	return ref, sbom.Detect(head[:n])
}

// billEvidence reads a bill of materials and matches what it lists.
func (a *app) billEvidence(ctx context.Context, path string, o checkFlags, now time.Time) (found verdict.Evidence, err error) {
	in := a.In
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return found, fault.New(fault.NotFound, "open bill of materials: %w", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	bill, err := sbom.Read(in, o.bill)
	if err != nil {
		return found, err
	}
	advisories, end, err := a.advisoriesFor(ctx, o, now)
	if err != nil {
		return found, err
	}
	defer end()
	if found, err = scan.Bill(ctx, bill, advisories, now); err != nil {
		return found, err
	}
	return found, a.believe(ctx, &found, advisories, &image.Image{ID: image.Digest(bill.ID), Name: bill.Name}, o.vex)
}

// addBill sends a bill of materials to the server.
func (a *app) addBill(ctx context.Context, c *client.Client, path, name, of string) (*client.Image, error) {
	in := a.In
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fault.New(fault.NotFound, "open bill of materials: %w", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	a.Note("sending %s to %s", path, c.Addr())
	return c.AddBill(ctx, name, of, in)
}
