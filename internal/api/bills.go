// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/sbom"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// isBill tells a bill of materials by how it begins.
func isBill(file *os.File) (bool, error) {
	head := make([]byte, 4096)
	n, err := file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fault.New(fault.Unavailable, "read upload: %w", err)
	}
	return sbom.Detect(head[:n]), nil
}

// billID is what a bill is kept under. It is no digest of anything that can run: not of
// the image it is said to be of, and not of the document, which could be an image's
// config at the same time. Else whoever may send a bill could have an image admitted.
func billID(document string) image.Digest {
	return image.DigestOf([]byte("goldkeep bill of materials " + document))
}

// addBill keeps what another tool says is in an image.
func (e *Engine) addBill(ctx context.Context, c *call, file io.ReadSeeker) (any, error) {
	of := image.Digest("")
	if text := c.param("of"); text != "" {
		var err error
		if of, err = image.ParseDigest(text); err != nil {
			return nil, err
		}
	}
	done, err := e.turn(ctx, e.scans)
	if err != nil {
		return nil, err
	}
	defer done()
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, fault.New(fault.Unavailable, "read upload: %w", err)
	}
	bill, err := sbom.Read(file, sbom.Limits{})
	if err != nil {
		return nil, err
	}
	name := c.param("name")
	if name == "" {
		name = bill.Name
	}
	if of != "" {
		name += "@" + string(of)
	}
	img := &image.Image{ID: billID(bill.ID), Name: name}
	ev := verdict.Evidence{
		Image: verdict.Image{ID: string(img.ID), Name: name, Kind: verdict.Bill, Origin: bill.Origin(), About: string(of), Platform: bill.Platform, Ports: bill.Ports},
		OS:    bill.Inventory.OS, Components: bill.Inventory.Components, Facts: bill.Inventory.Facts, Problems: bill.Inventory.Problems,
	}
	if err := e.o.Catalog.Learn(ctx, img, ev); err != nil {
		return nil, fmt.Errorf("keep bill of materials: %w", err)
	}
	found, err := e.o.Catalog.Find(ctx, img.ID)
	if err != nil {
		return nil, err
	}
	return e.describe(ctx, found)
}
