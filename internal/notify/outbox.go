// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// DeliveryState is how far a delivery is.
type DeliveryState string

// The states of a delivery.
const (
	Pending DeliveryState = "pending" // to be sent, perhaps again
	Sent    DeliveryState = "sent"    // somebody took it
	Failed  DeliveryState = "failed"  // given up; Answer says why
)

// Delivery is the record of one digest on its way: when, to whom, by what.
type Delivery struct {
	ID           string        `json:"id"`
	Notification string        `json:"notification,omitempty"` // empty: by an owner's contact
	State        DeliveryState `json:"state"`
	Target       string        `json:"target"` // where it goes, without what is secret
	Attempts     int           `json:"attempts"`
	Answer       string        `json:"answer,omitempty"` // what the receiver said last, or what went wrong
	Created      time.Time     `json:"created"`
	Next         time.Time     `json:"next,omitzero"`    // pending: when it is tried again
	Settled      time.Time     `json:"settled,omitzero"` // sent or failed
	Digest       *Digest       `json:"digest,omitempty"` // not filled in by lists
	contact      string
}

// delivery is a digest that has yet to be sent.
func (s *Service) delivery(d Digest, contact string) Delivery {
	now := s.o.Now()
	out := Delivery{ID: d.ID, Notification: d.Notification, State: Pending, Created: now, Next: now, Digest: &d, contact: contact}
	if contact != "" {
		out.Target = shownContact(contact)
	}
	return out
}

func enqueue(ctx context.Context, tx store.Tx, d Delivery) error {
	body, err := json.Marshal(d.Digest)
	if err != nil {
		return fmt.Errorf("encode digest: %w", err)
	}
	_, err = tx.Exec(ctx, `INSERT INTO notify_delivery (id, notification, contact, state, due, created, settled, attempts, target, answer, body)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		d.ID, d.Notification, d.contact, string(d.State), store.Millis(d.Next), store.Millis(d.Created), store.Millis(d.Settled), d.Attempts,
		d.Target, d.Answer, string(body))
	if err != nil {
		return fmt.Errorf("keep digest: %w", err)
	}
	return nil
}

// claimed is for how long a delivery is one server's to make. If it dies, another
// makes it afterwards, with the same id: who has seen it already can tell.
const claimed = 2 * time.Minute

// claim takes up to limit deliveries that are due, one by one.
func (s *Service) claim(ctx context.Context, now time.Time, limit int) ([]Delivery, error) {
	due, err := s.deliveries(ctx, "state = 'pending' AND due <= ? ORDER BY due LIMIT ?", store.Millis(now), limit)
	if err != nil {
		return nil, err
	}
	var mine []Delivery
	for _, d := range due {
		var n int64
		err := s.o.Store.Update(ctx, func(tx store.Tx) (err error) {
			n, err = tx.Exec(ctx, "UPDATE notify_delivery SET due = ?, attempts = attempts + 1 WHERE id = ? AND state = 'pending' AND attempts = ?",
				store.Millis(now.Add(claimed)), d.ID, d.Attempts)
			return err
		})
		if err != nil {
			return mine, fmt.Errorf("claim delivery: %w", err)
		}
		if n == 1 {
			d.Attempts++
			mine = append(mine, d)
		}
	}
	return mine, nil
}

// settle writes down how an attempt ended; whoever has claimed it meanwhile knows
// better.
func (s *Service) settle(ctx context.Context, d Delivery) error {
	err := s.o.Store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE notify_delivery SET state = ?, due = ?, settled = ?, target = ?, answer = ?
			WHERE id = ? AND attempts = ? AND state = 'pending'`,
			string(d.State), store.Millis(d.Next), store.Millis(d.Settled), d.Target, d.Answer, d.ID, d.Attempts)
		return err
	})
	if err != nil {
		return fmt.Errorf("settle delivery: %w", err)
	}
	return nil
}

func (s *Service) deliveries(ctx context.Context, where string, args ...any) ([]Delivery, error) {
	var all []Delivery
	err := s.o.Store.View(ctx, func(tx store.Tx) error {
		all = nil
		return store.Each(ctx, tx, func(r store.Row) error {
			var d Delivery
			var state, body string
			var due, created, settled int64
			if err := r.Scan(&d.ID, &d.Notification, &d.contact, &state, &due, &created, &settled, &d.Attempts, &d.Target, &d.Answer, &body); err != nil {
				return err
			}
			d.State, d.Created, d.Settled, d.Digest = DeliveryState(state), store.Time(created), store.Time(settled), &Digest{}
			if d.State == Pending {
				d.Next = store.Time(due)
			}
			if err := json.Unmarshal([]byte(body), d.Digest); err != nil {
				return fmt.Errorf("decode digest: %w", err)
			}
			all = append(all, d)
			return nil
		}, "SELECT id, notification, contact, state, due, created, settled, attempts, target, answer, body FROM notify_delivery WHERE "+where, args...)
	})
	if err != nil {
		return nil, fmt.Errorf("read deliveries: %w", err)
	}
	return all, nil
}

// MaxList bounds the deliveries of one list.
const MaxList = 1000

// Deliveries returns up to limit deliveries, the newest first, without their
// digests; of one state only unless that is "".
func (s *Service) Deliveries(ctx context.Context, state DeliveryState, limit int) ([]Delivery, error) {
	if limit <= 0 || limit > MaxList {
		limit = MaxList
	}
	all, err := s.deliveries(ctx, "(? = '' OR state = ?) ORDER BY created DESC, id LIMIT ?", string(state), string(state), limit)
	for i := range all {
		all[i].Digest = nil
	}
	return all, err
}

// Delivery returns one, with its digest; fault.NotFound where there is none.
func (s *Service) Delivery(ctx context.Context, id string) (*Delivery, error) {
	found, err := s.deliveries(ctx, "id = ?", id)
	if err == nil && len(found) == 0 {
		err = fault.New(fault.NotFound, "there is no delivery %q", id).WithHint("see them with: goldkeep notification list")
	}
	if err != nil {
		return nil, err
	}
	return &found[0], nil
}

// retention is how long a delivery that has ended is remembered.
const retention = 30 * 24 * time.Hour

// forget removes deliveries that ended long ago; the audit log still knows them.
func (s *Service) forget(ctx context.Context) error {
	const old = "state <> 'pending' AND created <= ?"
	cut, n := store.Millis(s.o.Now().Add(-retention)), 0
	err := s.o.Store.View(ctx, func(tx store.Tx) error {
		return tx.QueryRow(ctx, "SELECT COUNT(*) FROM (SELECT 1 FROM notify_delivery WHERE "+old+" LIMIT 1) AS t", cut).Scan(&n)
	})
	if err != nil || n == 0 {
		return err
	}
	err = s.o.Store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM notify_delivery WHERE "+old, cut)
		return err
	})
	if err != nil {
		return fmt.Errorf("forget deliveries: %w", err)
	}
	return nil
}

// errGone: nobody can be told any more.
var errGone = errors.New("the notification is no longer declared")
