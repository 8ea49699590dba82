// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/notify"
)

func (e *Engine) showAdvisories(ctx context.Context, _ *call) (any, error) {
	snap, err := e.o.Advisories.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	tries, err := e.o.Advisories.Tries(ctx)
	if err != nil {
		return nil, err
	}
	byFeed := map[string]*client.FeedTry{}
	for _, t := range tries {
		byFeed[t.Feed] = &client.FeedTry{Tried: t.Tried, Next: t.Next, Failures: t.Failures, Error: t.Error, Node: t.Node}
	}
	out := client.Snapshot{ID: snap.ID, Feeds: []client.Feed{}, Try: byFeed[advisory.Place]}
	delete(byFeed, advisory.Place)
	for _, f := range snap.Feeds {
		out.Feeds = append(out.Feeds, client.Feed{
			Name: f.Name, Hash: f.Hash, Records: f.Records, Newest: f.Newest, Synced: f.Synced, Bad: client.FeedBad(f.Bad), Try: byFeed[f.Name],
		})
		delete(byFeed, f.Name)
	}
	for _, t := range tries { // never taken yet
		if try := byFeed[t.Feed]; try != nil && (try.Failures > 0 || try.Tried.IsZero()) {
			out.Feeds = append(out.Feeds, client.Feed{Name: t.Feed, Try: try})
		}
	}
	return out, nil
}

// fetchFeeds makes all feeds due. Whichever server sees it first takes them.
func (e *Engine) fetchFeeds(ctx context.Context, c *call) (any, error) {
	if err := e.o.Advisories.Hurry(ctx); err != nil {
		return nil, err
	}
	return e.showAdvisories(ctx, c)
}

func (e *Engine) showAdvisory(ctx context.Context, c *call) (any, error) {
	found, err := e.o.Advisories.Show(ctx, c.vars["name"])
	if err != nil {
		return nil, err
	}
	return items[advisory.Known]{found}, nil
}

// receive takes an upload and then its turn among the feeds; the function ends both.
func (e *Engine) receive(ctx context.Context, body io.Reader) (*os.File, int64, func(), error) {
	file, size, err := e.spool(ctx, body)
	if err != nil {
		return nil, 0, nil, err
	}
	var end func()
	if _, err = file.Seek(0, io.SeekStart); err == nil {
		end, err = e.turn(ctx, e.feeds)
	}
	if err != nil {
		return nil, 0, nil, errors.Join(err, file.Close())
	}
	return file, size, func() { end(); _ = file.Close() }, nil
}

// putFeed takes a feed in, then has exactly the images judged again that hold a
// package it touched. Only then is the change settled: a crash in between is
// made good by sending the same feed again, or at the next start.
func (e *Engine) putFeed(ctx context.Context, c *call) (any, error) {
	if c.Body == nil {
		return nil, fault.New(fault.Invalid, "the body must be the feed's file")
	}
	file, size, done, err := e.receive(ctx, c.Body)
	if err != nil {
		return nil, err
	}
	defer done()
	var change advisory.Change
	switch feed := c.vars["name"]; feed {
	case "kev":
		change, err = e.o.Advisories.ImportKEV(ctx, file)
	case "epss":
		change, err = e.o.Advisories.ImportEPSS(ctx, file)
	case "cvss":
		change, err = e.o.Advisories.ImportCVSS(ctx, file)
	default:
		change, err = e.o.Advisories.Import(ctx, feed, file, size, nil)
	}
	if err != nil {
		return nil, err
	}
	images, err := e.Settle(ctx, change)
	if err != nil {
		return nil, err
	}
	return client.FeedChange{
		Feed: change.Feed, Unchanged: change.Unchanged, Records: change.Records, Added: change.Added, Changed: change.Changed,
		Removed: change.Removed, Bad: change.Bad.First, Images: images,
	}, nil
}

// Settle has matched and judged again, in one go, what feeds touched, and returns in
// how many images something else was found.
func (e *Engine) Settle(ctx context.Context, changes ...advisory.Change) (int, error) {
	var names []string
	var keys []advisory.Key
	for _, c := range changes {
		if len(c.Keys) > 0 || len(changes) == 1 {
			names, keys = append(names, c.Feed), append(keys, c.Keys...)
		}
	}
	images, err := e.o.Identity.Refresh(notify.Because(ctx, "feed "+strings.Join(names, ", ")), keys)
	for _, c := range changes {
		if err == nil {
			err = e.o.Advisories.Settle(ctx, c)
		}
	}
	return images, err
}

// maxRecords bounds the audit records of one answer.
const maxRecords = 1000

func (e *Engine) records(ctx context.Context, c *call) (any, error) {
	limit, err := c.number("limit", 100)
	if err != nil {
		return nil, err
	}
	after, err := c.number("after", 0)
	if err != nil {
		return nil, err
	}
	found, err := e.o.Records(ctx, uint64(after), min(limit, maxRecords))
	if err != nil {
		return nil, err
	}
	all := []client.AuditRecord{}
	for _, r := range found {
		detail, err := e.o.OpenRecord(r)
		if err != nil {
			detail = json.RawMessage(`{"error":"this record's detail does not open"}`)
		}
		all = append(all, client.AuditRecord{
			Seq: r.Seq, Time: r.Time, Node: r.Node, Kind: r.Kind, ID: r.ID, Op: r.Op, Mount: r.Mount, Actor: r.Actor,
			Name: r.Name, Remote: r.Remote, Answer: r.Answer, Reason: r.Reason, Detail: detail,
		})
	}
	return items[client.AuditRecord]{all}, nil
}

func (e *Engine) anchor(context.Context, *call) (any, error) { return e.o.Anchor(), nil }
