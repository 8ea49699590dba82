// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// The names of the feeds that say something about CVEs, not packages.
const (
	FeedKEV  = "kev"
	FeedEPSS = "epss"
	FeedCVSS = "cvss"
)

// ImportKEV reads CISA's catalogue of known exploited vulnerabilities (JSON). The
// Change's keys are the packages whose records name a CVE that came, left or changed.
func (x *Index) ImportKEV(ctx context.Context, r io.Reader) (Change, error) {
	x.imports.Lock()
	defer x.imports.Unlock()
	return x.importScores(ctx, source{feed: FeedKEV, shrink: true}, r)
}

// ImportEPSS reads a list of EPSS scores (CSV, plain or gzip). The Change's keys
// are the packages whose records name a CVE with a new, changed or lost score.
func (x *Index) ImportEPSS(ctx context.Context, r io.Reader) (Change, error) {
	x.imports.Lock()
	defer x.imports.Unlock()
	return x.importScores(ctx, source{feed: FeedEPSS, shrink: true}, r)
}

// ImportCVSS reads CVSS vectors of CVEs, see ParseCVSS. They count for advisories
// that state no severity of their own.
func (x *Index) ImportCVSS(ctx context.Context, r io.Reader) (Change, error) {
	x.imports.Lock()
	defer x.imports.Unlock()
	return x.importScores(ctx, source{feed: FeedCVSS, shrink: true}, r)
}

func (x *Index) importScores(ctx context.Context, src source, r io.Reader) (Change, error) {
	raw, err := readAll(r, maxScores)
	if err != nil {
		return Change{}, fault.New(fault.KindOf(err), "import feed %s: %w", src.feed, err)
	}
	hash, err := hashOf(bytes.NewReader(raw))
	if err != nil {
		return Change{}, err
	}
	im, same, err := x.begin(ctx, src, hash)
	if err != nil || same {
		return im.change, err
	}
	if im.released = released(src.feed, raw); im.released.IsZero() {
		im.released = im.now // it does not say of when it is
	}
	scores, err := im.parseScores(raw)
	if err != nil {
		return Change{}, err
	}
	if err := im.writeScores(ctx, scores); err != nil {
		return Change{}, fault.New(fault.KindOf(err), "import feed %s: %w", src.feed, err)
	}
	return im.change, nil
}

// released is the time a list of scores says it is of; zero: it does not say.
func released(feed string, raw []byte) time.Time {
	switch feed {
	case FeedKEV:
		var in struct {
			Released time.Time `json:"dateReleased"`
		}
		_ = json.Unmarshal(raw, &in) // whoever reads the rest complains
		return in.Released
	case FeedEPSS:
		plain, err := unpacked(bytes.NewReader(raw))
		if err != nil {
			return time.Time{}
		}
		head, _ := io.ReadAll(io.LimitReader(plain, 1<<10))
		line, _, _ := strings.Cut(string(head), "\n")
		_, date, _ := strings.Cut(line, "score_date:")
		at, _ := time.Parse("2006-01-02T15:04:05Z0700", strings.TrimSpace(date))
		return at
	}
	return time.Time{}
}

func (im *run) parseScores(raw []byte) (map[string]Score, error) {
	switch im.src.feed {
	case FeedKEV:
		return ParseKEV(bytes.NewReader(raw))
	case FeedCVSS:
		return ParseCVSS(bytes.NewReader(raw))
	}
	scores, bad, err := ParseEPSS(bytes.NewReader(raw))
	if bad > 0 {
		im.change.Bad = Bad{Count: bad, First: []string{fmt.Sprintf("%d lines not understood", bad)}}
	}
	return scores, err
}

// scoreChange is one CVE whose state differs from what is held; body "" is gone.
type scoreChange struct{ cve, body string }

// writeScores writes what differs, in batches, and the feed's row last.
func (im *run) writeScores(ctx context.Context, scores map[string]Score) error {
	changes, err := im.compareScores(ctx, scores)
	if err != nil {
		return err
	}
	for done := 0; done < len(changes); done += batch {
		part := changes[done:min(done+batch, len(changes))]
		if err := im.x.st.Update(ctx, func(tx store.Tx) error { return im.writeScoreBatch(ctx, tx, part) }); err != nil {
			return err
		}
		if im.src.progress != nil {
			im.src.progress(done+len(part), len(changes))
		}
	}
	im.change.Records = len(scores)
	im.change.Newest = im.released
	if err := im.x.st.Update(ctx, func(tx store.Tx) error { return im.saveFeed(ctx, tx) }); err != nil {
		return err
	}
	return im.loadKeys(ctx)
}

func (im *run) compareScores(ctx context.Context, scores map[string]Score) ([]scoreChange, error) {
	var changes []scoreChange
	err := im.x.st.View(ctx, func(tx store.Tx) error {
		changes = nil
		held := map[string]string{}
		if err := store.Each(ctx, tx, func(row store.Row) error {
			var cve, body string
			err := row.Scan(&cve, &body)
			held[cve] = body
			return err
		}, `SELECT cve, body FROM advisory_scores WHERE feed = ?`, im.src.feed); err != nil {
			return err
		}
		for cve, s := range scores {
			body, err := scoreBody(im.src.feed, s)
			if err != nil {
				return err
			}
			if held[cve] != body {
				changes = append(changes, scoreChange{cve, body})
			}
		}
		for cve := range held {
			if _, stays := scores[cve]; !stays {
				changes = append(changes, scoreChange{cve, ""})
			}
		}
		im.countScores(changes, held)
		im.held = held
		return im.checkShrunk(len(scores))
	})
	slices.SortFunc(changes, func(a, b scoreChange) int { return bytes.Compare([]byte(a.cve), []byte(b.cve)) })
	return changes, err
}

func (im *run) countScores(changes []scoreChange, held map[string]string) {
	im.change.Added, im.change.Changed, im.change.Removed = 0, 0, 0
	for _, c := range changes {
		switch {
		case c.body == "":
			im.change.Removed++
		case held[c.cve] == "":
			im.change.Added++
		default:
			im.change.Changed++
		}
	}
}

// scoreBody holds a feed's own fields only, so that both can be read into one Score.
func scoreBody(feed string, s Score) (string, error) {
	var v any = struct {
		EPSS       float64 `json:"epss"`
		Percentile float64 `json:"percentile"`
	}{s.EPSS, s.Percentile}
	switch feed {
	case FeedKEV:
		v = map[string]any{"exploited": true, "added": s.Added, "due": s.Due, "ransomware": s.Ransomware}
	case FeedCVSS:
		v = map[string]any{"vectors": s.Vectors}
	}
	body, err := json.Marshal(v)
	return string(body), err
}

func (im *run) writeScoreBatch(ctx context.Context, tx store.Tx, changes []scoreChange) error {
	for _, c := range changes {
		query, args := `INSERT INTO advisory_scores (body, feed, cve) VALUES (?, ?, ?)
			ON CONFLICT (feed, cve) DO UPDATE SET body = excluded.body`, []any{c.body, im.src.feed, c.cve}
		if c.body == "" {
			query, args = `DELETE FROM advisory_scores WHERE feed = ? AND cve = ?`, args[1:]
		}
		if _, err := tx.Exec(ctx, query, args...); err != nil {
			return err
		}
		// A record speaks of a CVE as its alias, or (OSV: some feeds) by its own ID.
		if _, err := tx.Exec(ctx, `INSERT INTO advisory_touched (feed, ecosystem, name)
			SELECT DISTINCT CAST(? AS TEXT), k.ecosystem, k.name FROM advisory_aliases a
			JOIN advisory_keys k ON k.feed = a.feed AND k.id = a.id WHERE a.alias = ?
			ON CONFLICT DO NOTHING`, im.src.feed, c.cve); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `INSERT INTO advisory_touched (feed, ecosystem, name)
			SELECT DISTINCT CAST(? AS TEXT), k.ecosystem, k.name FROM advisory_records r
			JOIN advisory_keys k ON k.feed = r.feed AND k.id = r.id WHERE r.id = ?
			ON CONFLICT DO NOTHING`, im.src.feed, c.cve); err != nil {
			return err
		}
	}
	return nil
}
