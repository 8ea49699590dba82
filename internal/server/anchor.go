// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bufio"
	"context"
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

func (s *Server) anchor(ctx context.Context) (audit.Anchor, error) {
	var text string
	err := s.store.View(ctx, func(tx store.Tx) error {
		return tx.QueryRow(ctx, "SELECT body FROM server_anchor WHERE node = ?", s.config.Node).Scan(&text)
	})
	var a audit.Anchor
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
	if head := s.audit.Head(); head.Seq < kept.Seq {
		s.log.Error("the audit log is shorter than it was: records were removed",
			"file", s.config.Audit.File, "records", head.Seq, "known", kept.Seq)
		return s.audit.Append(ctx, audit.Record{
			Kind: "event", ID: "start", Op: "audit.cut", Actor: "system", Answer: "error", Sync: true,
			Reason: fmt.Sprintf("the log ends at record %d; it had %d", head.Seq, kept.Seq),
		})
	}
	return nil
}

// anchorBeat is how often the anchor follows the log: what is cut off that was
// written later than this before a crash is not noticed.
const anchorBeat = time.Second

func (s *Server) keepAnchor(ctx context.Context) error {
	tick := time.NewTicker(anchorBeat)
	defer tick.Stop()
	var last audit.Anchor
	for {
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
	text, err := json.Marshal(head)
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
	file, err := os.Open(s.config.Audit.File)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "open audit log: %w", err)
	}
	defer func() { _ = file.Close() }()
	var all []audit.Record
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, maxRecordLine)
	for lines.Scan() && len(all) < limit {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var r audit.Record
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			break // the line being written
		}
		if r.Seq > after {
			all = append(all, r)
		}
	}
	return all, lines.Err()
}
