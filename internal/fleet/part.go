// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package fleet

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/store"
)

// content is what one layer adds to the final view of an image, and says nothing of
// the image: it is kept once for all that have it, under the hash of its JSON.
type content struct {
	finding.Part
	Facts []component.Fact `json:"facts,omitempty"`
}

// piece is a content at its place in an image: the index of its lowest layer.
type piece struct {
	content
	layer int
	hash  string
	text  []byte
}

// Placed is a kept part in an image.
type Placed struct {
	Part  int64 `json:"p"`
	Layer int   `json:"l,omitempty"` // the index of its lowest layer
}

// takeApart splits what an image holds by layer. Facts of no layer (the config's)
// are the image's own, and left out.
func takeApart(inv component.Inventory) (pieces []piece, err error) {
	for _, p := range finding.Split(inv) {
		pieces = append(pieces, piece{content: content{Part: p.Part}, layer: p.Layer})
	}
	for _, f := range inv.Facts {
		if f.Layer == "" {
			continue
		}
		p := &pieces[pieceFor(&pieces, f.LayerIndex)]
		f.Layer, f.LayerIndex = "", 0
		p.Facts = append(p.Facts, f)
	}
	for i := range pieces {
		p := &pieces[i]
		slices.SortFunc(p.Components, compareComponents)
		slices.SortStableFunc(p.Facts, compareFacts)
		if p.text, err = json.Marshal(p.content); err != nil {
			return nil, fmt.Errorf("encode part: %w", err)
		}
		sum := sha256.Sum256(p.text)
		p.hash = hex.EncodeToString(sum[:])
	}
	return pieces, nil
}

// pieceFor finds the piece of a layer's facts, or makes it.
func pieceFor(pieces *[]piece, layer int) int {
	at := slices.IndexFunc(*pieces, func(p piece) bool { return p.layer == layer })
	if at < 0 {
		at = len(*pieces)
		*pieces = append(*pieces, piece{layer: layer})
	}
	return at
}

// The orders of package component.
func compareComponents(a, b component.Component) int {
	return cmp.Or(cmp.Compare(a.Ecosystem, b.Ecosystem), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Version, b.Version),
		cmp.Compare(a.Path, b.Path), cmp.Compare(a.Arch, b.Arch), cmp.Compare(a.LayerIndex, b.LayerIndex), cmp.Compare(a.PURL, b.PURL))
}

func compareFacts(a, b component.Fact) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Path, b.Path), cmp.Compare(a.LayerIndex, b.LayerIndex), cmp.Compare(a.Detail, b.Detail))
}

// part is a kept content with what was found in it.
type part struct {
	num     int64
	version int64 // counts what was found
	content content
	found   finding.Matched
}

// weight is about how much memory a part takes, in components.
func (p *part) weight() int {
	n := 4 + len(p.content.Components) + len(p.content.Facts)/2
	for _, u := range p.found.Units {
		n += 1 + 2*len(u.Findings)
	}
	return n
}

// result is what was found in a part, as its row holds it.
type result struct {
	found finding.Matched
	body  []byte
	mark  string // the hash of the JSON: has it changed?
}

func newResult(found finding.Matched) (result, error) {
	text, err := json.Marshal(found)
	if err != nil {
		return result{}, fmt.Errorf("encode findings: %w", err)
	}
	body, err := store.Compress(text)
	sum := sha256.Sum256(text)
	return result{found: found, body: body, mark: hex.EncodeToString(sum[:16])}, err
}

// keepPart finds the row of a piece, or makes it from what was found in it. A new
// one stays marked as to be looked at until its finder is sure that no feed was
// taken in meanwhile.
func keepPart(ctx context.Context, tx store.Tx, p piece, found map[string]result) (num int64, fresh bool, err error) {
	err = tx.QueryRow(ctx, "SELECT num FROM fleet_part WHERE hash = ?", p.hash).Scan(&num)
	if !errors.Is(err, store.ErrNoRows) {
		return num, false, err
	}
	res, ok := found[p.hash]
	if !ok {
		return 0, false, errors.New("a part went away while its image was learned") // parts never do
	}
	body, err := store.Compress(p.text)
	if err != nil {
		return 0, false, err
	}
	if num, err = next(ctx, tx, "fleet_part"); err != nil {
		return 0, false, err
	}
	if _, err := tx.Exec(ctx, "INSERT INTO fleet_part (num, hash, version, body, mark, found, uncovered, fresh) VALUES (?, ?, 1, ?, ?, ?, ?, 1)",
		num, p.hash, body, res.mark, res.body, strings.Join(res.found.Uncovered, "\n")); err != nil {
		return 0, false, fmt.Errorf("keep part: %w", err)
	}
	if err := indexPackages(ctx, tx, num, p.Part); err != nil {
		return 0, false, err
	}
	return num, true, indexHits(ctx, tx, num, hitsChanged(finding.Matched{}, res.found))
}

// next is the next number of a table. Rows are never removed.
func next(ctx context.Context, tx store.Tx, table string) (num int64, err error) {
	err = tx.QueryRow(ctx, "SELECT COALESCE(MAX(num), 0) + 1 FROM "+table).Scan(&num)
	return num, err
}

// indexPackages makes a part findable by each of its packages.
func indexPackages(ctx context.Context, tx store.Tx, num int64, p finding.Part) error {
	for _, key := range p.Keys() {
		var pkg int64
		err := tx.QueryRow(ctx, "SELECT num FROM fleet_package WHERE ecosystem = ? AND name = ?", key.Ecosystem, key.Name).Scan(&pkg)
		if errors.Is(err, store.ErrNoRows) {
			if pkg, err = next(ctx, tx, "fleet_package"); err == nil {
				_, err = tx.Exec(ctx, "INSERT INTO fleet_package (num, ecosystem, name) VALUES (?, ?, ?)", pkg, key.Ecosystem, key.Name)
			}
		}
		if err == nil {
			_, err = tx.Exec(ctx, "INSERT INTO fleet_contains (package, part) VALUES (?, ?)", pkg, num)
		}
		if err != nil {
			return fmt.Errorf("keep package: %w", err)
		}
	}
	return nil
}
