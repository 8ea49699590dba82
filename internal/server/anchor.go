// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bufio"
	"context"
	"crypto/hmac"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/goldkeep/goldkeep/internal/audit"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// The anchor: the store remembers how far each node's audit log had come, so
// that a log whose end was cut off is noticed.

// kept is an anchor as the store has it. The MAC, under a key of the barrier,
// shows that it was this server's; there is none while sealed.
type kept struct {
	audit.Anchor
	MAC string `json:"mac,omitempty"`
}

func (s *Server) anchor(ctx context.Context) (kept, error) {
	var text string
	err := s.store.View(ctx, func(tx store.Tx) error {
		return tx.QueryRow(ctx, "SELECT body FROM server_anchor WHERE node = ?", s.config.Node).Scan(&text)
	})
	var a kept
	if errors.Is(err, store.ErrNoRows) {
		return a, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &a)
	}
	return a, err
}

// checkAnchor compares the log with the anchor at start.
func (s *Server) checkAnchor(ctx context.Context) error {
	if err := s.store.Migrate(ctx, "server", []string{"CREATE TABLE server_anchor (node TEXT PRIMARY KEY, body TEXT NOT NULL)"}); err != nil {
		return err
	}
	kept, err := s.anchor(ctx)
	if err != nil {
		return fmt.Errorf("read audit anchor: %w", err)
	}
	head := s.audit.Head()
	if head.Seq < kept.Seq {
		s.log.Error("the audit log is shorter than it was: records were removed",
			"file", s.config.Audit.File, "records", head.Seq, "known", kept.Seq)
		return s.note(ctx, "audit.cut", fmt.Sprintf("the log ends at record %d; it had %d", head.Seq, kept.Seq))
	}
	hash, found, err := audit.HashOf(s.config.Audit.File, kept.Seq)
	if err != nil {
		return err
	}
	if found && hash != kept.Hash {
		s.log.Error("the audit log was written anew: record is not the one that was there", "file", s.config.Audit.File, "record", kept.Seq)
		return s.note(ctx, "audit.changed", fmt.Sprintf("record %d is not the one that was written", kept.Seq))
	}
	s.foundAnchor = kept
	return nil
}

// note records what the log found out about itself.
func (s *Server) note(ctx context.Context, op, reason string) error {
	return s.audit.Append(ctx, audit.Record{Kind: "event", ID: "start", Op: op, Actor: "system", Answer: "error", Sync: true, Reason: reason})
}

const anchorPurpose = "audit anchor"

func anchorText(a audit.Anchor) []byte { return fmt.Appendf(nil, "%s\n%d\n%s", a.Node, a.Seq, a.Hash) }

// checkMAC looks, once unsealed, whether the anchor found at the start was ours.
func (s *Server) checkMAC(ctx context.Context) error {
	found := s.foundAnchor
	if found.MAC == "" {
		return nil // of a sealed server, or an older version
	}
	want, err := s.barrier.MAC(anchorPurpose, anchorText(found.Anchor))
	if err != nil {
		return err
	}
	if !hmac.Equal([]byte(hex.EncodeToString(want)), []byte(found.MAC)) {
		s.log.Error("the anchor of the audit log in the store was changed", "record", found.Seq)
		return s.note(ctx, "audit.anchor", "the anchor in the store was not written by this server")
	}
	return nil
}

// endLog is the last record of a server that stops: a log of a stopped server
// without it was cut, or the server was killed.
func (s *Server) endLog(ctx context.Context) error {
	if s.audit.Err() != nil {
		return nil // it ends as it ended
	}
	err := s.audit.Append(ctx, audit.Record{Kind: "event", ID: "end", Op: audit.OpEnd, Actor: "system", Answer: "allow", Reason: "the server stopped", Sync: true})
	return errors.Join(err, s.saveAnchor(ctx, s.audit.Head()))
}

// closer makes a function an io.Closer.
type closer func() error

// Close implements io.Closer.
func (c closer) Close() error { return c() }

// anchorBeat is how often the anchor follows the log: what is cut off that was
// written later than this before a crash is not noticed.
const anchorBeat = time.Second

func (s *Server) keepAnchor(ctx context.Context) error {
	tick := time.NewTicker(anchorBeat)
	defer tick.Stop()
	var last audit.Anchor
	checked := false
	for {
		if !checked && !s.barrier.Sealed() {
			if err := s.checkMAC(ctx); err != nil {
				return unlessEnding(ctx, err)
			}
			checked = true
		}
		stop := false
		select {
		case <-ctx.Done():
			stop = true
		case <-tick.C:
		}
		if head := s.audit.Head(); head != last {
			if err := s.saveAnchor(context.WithoutCancel(ctx), head); err != nil {
				s.log.Error("keep audit anchor", "error", err)
			} else {
				last = head
			}
		}
		if stop {
			return nil
		}
	}
}

func (s *Server) saveAnchor(ctx context.Context, head audit.Anchor) error {
	anchor := kept{Anchor: head}
	if mac, err := s.barrier.MAC(anchorPurpose, anchorText(head)); err == nil {
		anchor.MAC = hex.EncodeToString(mac)
	}
	text, err := json.Marshal(anchor)
	if err != nil {
		return fmt.Errorf("encode anchor: %w", err)
	}
	return s.store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO server_anchor (node, body) VALUES (?, ?) ON CONFLICT (node) DO UPDATE SET body = excluded.body", s.config.Node, string(text))
		return err
	})
}

// maxRecordLine bounds one line of the audit log.
const maxRecordLine = 2 << 20

// auditRecords reads up to limit records after a sequence number from the
// current file of this node's log.
func (s *Server) auditRecords(ctx context.Context, after uint64, limit int) ([]audit.Record, error) {
	var all []audit.Record
	err := s.eachRecord(ctx, func(r audit.Record) error {
		if r.Seq > after {
			all = append(all, r)
		}
		if len(all) == limit {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return all, err
}

var errEnough = errors.New("enough records")

// eachRecord reads the current file of this node's log, oldest first, until fn
// returns an error.
func (s *Server) eachRecord(ctx context.Context, fn func(audit.Record) error) error {
	file, err := os.Open(s.config.Audit.File)
	if err != nil {
		return fault.New(fault.Unavailable, "open audit log: %w", err)
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, maxRecordLine)
	for lines.Scan() {
		if err := ctx.Err(); err != nil {
			return err
		}
		var r audit.Record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			break // the line being written
		}
		if err := fn(r); err != nil {
			return err
		}
	}
	return lines.Err()
}
