// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// news is one thing that happened, as it waits to be gathered. Of each image in an
// environment, each instance and each feed there is one at most: what happens
// later replaces what happened before, and where it ends as it began there was
// nothing to tell.
type news struct {
	Image       image.Digest `json:"image,omitempty"`
	Environment string       `json:"environment,omitempty"`
	Instance    string       `json:"instance,omitempty"`
	Workload    string       `json:"workload,omitempty"`
	Owner       string       `json:"owner,omitempty"`
	Node        string       `json:"node,omitempty"`
	Feed        string       `json:"feed,omitempty"`
	Golden      string       `json:"golden,omitempty"` // whose channel points at Image now
	Channel     string       `json:"channel,omitempty"`
	Standing    standing     `json:"standing"`
	Reasons     []reason     `json:"reasons,omitempty"`
	Cause       string       `json:"cause,omitempty"`
	At          time.Time    `json:"at"`
}

// standing is how something stood before, and stands now.
type standing struct {
	State    string    `json:"state"` // "admitted", "refused"; or an instance's; or the digest a channel points at
	Deadline time.Time `json:"deadline,omitzero"`
}

// reason is one reason of a verdict, short.
type reason struct {
	Text   string `json:"text"`
	Remedy string `json:"remedy,omitempty"`
}

// The limits of one piece of news.
const (
	maxReasons = 3
	maxText    = 300 // bytes of a reason, a remedy, a name
)

// The states things can be in.
const (
	admitted = "admitted" // an image
	refused  = "refused"
	active   = "active" // an instance, as package identity calls it
	warned   = "warned"
	gone     = "gone"
	failing  = "failing" // a feed
)

// Instance is a running copy of a workload whose state has changed.
type Instance struct {
	ID, Workload, Environment, Owner, Node string

	Image image.Digest
	State string    // "active", "warned", "revoked", "gone"
	Until time.Time // warned: when it will be taken back
}

type causeKey struct{}

// Because says in whose course verdicts are kept and instances change: "feed
// Debian", "apply". What happens under the context it returns is told with it.
func Because(ctx context.Context, cause string) context.Context {
	return context.WithValue(ctx, causeKey{}, cause)
}

func causeOf(ctx context.Context) string {
	cause, _ := ctx.Value(causeKey{}).(string)
	return plain(cause, 100)
}

// Judged takes down what a new verdict changes, in the transaction that keeps it
// (catalog.Catalog.OnKeep). The first verdict on an image is no news: whoever
// brought the image, or the environment, was answered with it.
func (s *Service) Judged(ctx context.Context, tx store.Tx, old *verdict.Verdict, kept verdict.Verdict) error {
	if old == nil {
		return nil
	}
	before, now := standingOf(*old), standingOf(kept)
	if changed(before, now) == "" {
		return nil
	}
	n := news{
		Image: image.Digest(kept.Image), Environment: kept.Environment, Standing: now, Reasons: reasonsOf(kept),
		Cause: causeOf(ctx), At: s.o.Now(),
	}
	return s.note(ctx, tx, "image/"+kept.Environment+"/"+kept.Image, before, n)
}

// standingOf is what of a verdict concerns people.
func standingOf(v verdict.Verdict) standing {
	st := standing{State: refused}
	if !v.Admitted() {
		return st
	}
	st.State = admitted
	for _, o := range []verdict.Outcome{v.Admit, v.Retain} {
		for _, r := range o.Reasons {
			if !r.Deadline.IsZero() && (st.Deadline.IsZero() || r.Deadline.Before(st.Deadline)) {
				st.Deadline = r.Deadline
			}
		}
	}
	return st
}

// changed says what happened between two standings; "": nothing to tell.
func changed(before, now standing) Change {
	switch {
	case before.State != now.State:
		return map[string]Change{
			admitted: Recovered, refused: Refused, failing: FeedFailure,
			active: Recovered, warned: Warned, "revoked": Revoked,
		}[now.State]
	case now.State == warned:
		return "" // for another reason
	case !now.Deadline.IsZero() && (before.Deadline.IsZero() || now.Deadline.Before(before.Deadline)):
		return Deadline
	case now.Deadline.IsZero() && !before.Deadline.IsZero():
		return Recovered
	}
	return ""
}

// reasonsOf are the first reasons of a verdict: those that fail, else those that
// will.
func reasonsOf(v verdict.Verdict) []reason {
	var all []reason
	for _, o := range []verdict.Outcome{v.Admit, v.Retain} {
		for _, r := range o.Reasons {
			told := r.Answer != verdict.Yes || v.Admitted() && !r.Deadline.IsZero()
			if told && len(all) < maxReasons {
				all = append(all, reason{plain(r.Text, maxText), plain(r.Remedy, maxText)})
			}
		}
		if !v.Admitted() {
			break // why it may not start is what matters
		}
	}
	return all
}

// Changed takes down what happened to an instance. It must have returned before
// that counts as settled; it may be called again for the same.
func (s *Service) Changed(ctx context.Context, in Instance, why string) error {
	id := "instance/" + in.ID
	if in.State == gone {
		return s.o.Store.Update(ctx, func(tx store.Tx) error {
			_, err := tx.Exec(ctx, "DELETE FROM notify_news WHERE id = ?", id) // nobody need care any more
			return err
		})
	}
	before := standing{State: active}
	if in.State == active {
		before.State = warned
	}
	n := news{
		Image: in.Image, Environment: in.Environment, Instance: in.ID, Node: plain(in.Node, maxText),
		Workload: plain(in.Workload, maxText), Owner: plain(in.Owner, maxText),
		Standing: standing{in.State, in.Until}, Cause: causeOf(ctx), At: s.o.Now(),
	}
	if why != "" {
		n.Reasons = []reason{{Text: plain(why, maxText)}}
	}
	return s.o.Store.Update(ctx, func(tx store.Tx) error { return s.note(ctx, tx, id, before, n) })
}

// FeedFailed takes down that a feed could not be refreshed. Only the first failure
// in a row is news: call it for that.
func (s *Service) FeedFailed(ctx context.Context, tx store.Tx, feed, why string) error {
	n := news{Feed: plain(feed, maxText), Standing: standing{State: failing}, At: s.o.Now(), Reasons: []reason{{Text: plain(why, maxText)}}}
	return s.note(ctx, tx, "feed/"+n.Feed, standing{}, n)
}

// Moved takes down that a channel points at another image, in the transaction that
// makes it so (catalog.Catalog.OnMove). Who has to be told is found out when it is.
func (s *Service) Moved(ctx context.Context, tx store.Tx, m Move) error {
	n := news{Golden: m.Golden, Channel: m.Channel, Image: m.Now, Standing: standing{State: string(m.Now)}, Cause: causeOf(ctx), At: s.o.Now()}
	return s.note(ctx, tx, "channel/"+m.Golden+"/"+m.Channel, standing{State: string(m.Before)}, n)
}

// note writes news down. What it replaces keeps how things stood at first.
func (s *Service) note(ctx context.Context, tx store.Tx, id string, before standing, n news) error {
	old, err := json.Marshal(before)
	if err != nil {
		return fmt.Errorf("encode news: %w", err)
	}
	body, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("encode news: %w", err)
	}
	at := store.Millis(n.At)
	version := rand.Int64N(1 << 40) // tells it from what it replaces, and fits a sum of millions
	_, err = tx.Exec(ctx, `INSERT INTO notify_news (id, first, noted, version, before, body) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET noted = excluded.noted, version = excluded.version, body = excluded.body`,
		id, at, at, version, string(old), string(body))
	if err != nil {
		return fmt.Errorf("keep news: %w", err)
	}
	return nil
}

// waiting says how much news there is: since when, and until when.
func (s *Service) waiting(ctx context.Context) (count int, first, last time.Time, err error) {
	var from, to int64
	err = s.o.Store.View(ctx, func(tx store.Tx) error {
		return tx.QueryRow(ctx, "SELECT COUNT(*), COALESCE(MIN(first), 0), COALESCE(MAX(noted), 0) FROM notify_news").Scan(&count, &from, &to)
	})
	return count, store.Time(from), store.Time(to), err
}

// errTaken: news changed while it was being gathered.
var errTaken = errors.New("the news has changed meanwhile")

// snapshot names the news that was read: what is taken must be that, all of it, and
// nothing else.
type snapshot struct {
	cut      int64 // noted by then
	rows     int64
	versions int64
}

// each calls fn for all news noted by cut, a page at a time.
func (s *Service) each(ctx context.Context, cut time.Time, fn func(before standing, n news) error) (snapshot, error) {
	seen := snapshot{cut: store.Millis(cut)}
	for last := ""; ; {
		page, err := s.page(ctx, last, seen.cut)
		if err != nil || len(page) == 0 {
			return seen, err
		}
		for _, row := range page {
			last = row.id
			seen.rows++
			seen.versions += row.version
			if err := fn(row.before, row.news); err != nil {
				return seen, err
			}
		}
	}
}

type newsRow struct {
	id      string
	version int64
	before  standing
	news    news
}

const pageSize = 500

func (s *Service) page(ctx context.Context, after string, cut int64) ([]newsRow, error) {
	var rows []newsRow
	err := s.o.Store.View(ctx, func(tx store.Tx) error {
		rows = nil
		return store.Each(ctx, tx, func(r store.Row) error {
			var row newsRow
			var before, body string
			if err := r.Scan(&row.id, &row.version, &before, &body); err != nil {
				return err
			}
			if err := errors.Join(json.Unmarshal([]byte(before), &row.before), json.Unmarshal([]byte(body), &row.news)); err != nil {
				return fmt.Errorf("decode news: %w", err)
			}
			rows = append(rows, row)
			return nil
		}, "SELECT id, version, before, body FROM notify_news WHERE id > ? AND noted <= ? ORDER BY id LIMIT ?", after, cut, pageSize)
	})
	return rows, err
}

// take removes the news of a snapshot; errTaken where it is not as it was read.
func take(ctx context.Context, tx store.Tx, seen snapshot) error {
	now := snapshot{cut: seen.cut}
	err := tx.QueryRow(ctx, "SELECT COUNT(*), CAST(COALESCE(SUM(version), 0) AS BIGINT) FROM notify_news WHERE noted <= ?", seen.cut).Scan(&now.rows, &now.versions)
	if err != nil {
		return fmt.Errorf("count news: %w", err)
	}
	if now != seen {
		return errTaken
	}
	if _, err := tx.Exec(ctx, "DELETE FROM notify_news WHERE noted <= ?", seen.cut); err != nil {
		return fmt.Errorf("take news: %w", err)
	}
	return nil
}
