// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// sealedPart is what of a Notification is secret, or names a secret.
type sealedPart struct {
	URL     string    `json:"url,omitempty"`
	URLFrom SecretRef `json:"urlFrom,omitzero"`
	Secret  SecretRef `json:"secret,omitzero"`
}

// shown is the rest: a row's body, with the target as may be shown.
type shown struct {
	Notification
	Shown string `json:"shown"`
}

// Put creates or replaces a Notification; fault.Sealed while sealed.
func (s *Service) Put(ctx context.Context, n Notification) error {
	row := shown{n, n.Target()}
	var hidden sealedPart
	if n.Webhook != nil {
		hidden = sealedPart{n.Webhook.URL, n.Webhook.URLFrom, n.Webhook.Secret}
		row.Webhook = &Webhook{Format: n.Webhook.Format, InsecurePlainHTTP: n.Webhook.InsecurePlainHTTP}
	}
	body, err := json.Marshal(row)
	if err != nil {
		return fmt.Errorf("encode notification: %w", err)
	}
	text, err := json.Marshal(hidden)
	if err != nil {
		return fmt.Errorf("encode notification: %w", err)
	}
	// Bound to the rest of the row: whoever can write the database cannot give one
	// team's URL to another's news.
	sealed, err := s.o.Keys.SealBytes("notify", text, body)
	if err != nil {
		return err
	}
	return s.o.Store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO notify_target (name, body, sealed) VALUES (?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET body = excluded.body, sealed = excluded.sealed`, n.Name, string(body), sealed)
		return err
	})
}

// Delete removes a Notification. What waits to be sent to it fails.
func (s *Service) Delete(ctx context.Context, name string) error {
	return s.o.Store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM notify_target WHERE name = ?", name)
		return err
	})
}

// List returns the Notifications by name, whole; fault.Sealed while sealed.
func (s *Service) List(ctx context.Context) ([]Notification, error) {
	return s.targets(ctx, true, "SELECT body, sealed FROM notify_target ORDER BY name")
}

// Get returns one, whole; fault.NotFound where there is none.
func (s *Service) Get(ctx context.Context, name string) (*Notification, error) {
	found, err := s.targets(ctx, true, "SELECT body, sealed FROM notify_target WHERE name = ?", name)
	if err == nil && len(found) == 0 {
		err = fault.New(fault.NotFound, "there is no notification %q", name).WithHint("see them with: goldkeep notification targets")
	}
	if err != nil {
		return nil, err
	}
	return &found[0], nil
}

// Summary is a Notification as anybody may see it: without its URL.
type Summary struct {
	Name         string   `json:"name"`
	Owner        string   `json:"owner"`
	Owners       []string `json:"owners"`
	Environments []string `json:"environments,omitempty"`
	On           []Change `json:"on"`
	Target       string   `json:"target"`
}

// Summaries returns all by name, also while sealed.
func (s *Service) Summaries(ctx context.Context) ([]Summary, error) {
	all := []Summary{}
	err := s.eachTarget(ctx, func(row shown, _ string, _ []byte) error {
		all = append(all, Summary{row.Name, row.Owner, row.Owners, row.Environments, row.On, row.Shown})
		return nil
	}, func() { all = all[:0] }, "SELECT body, sealed FROM notify_target ORDER BY name")
	return all, err
}

// targets returns Notifications, with what is secret only where whole.
func (s *Service) targets(ctx context.Context, whole bool, query string, args ...any) ([]Notification, error) {
	var all []Notification
	err := s.eachTarget(ctx, func(row shown, body string, sealed []byte) error {
		n := row.Notification
		if whole && n.Webhook != nil {
			if err := s.open(&n, body, sealed); err != nil {
				return err
			}
		}
		all = append(all, n)
		return nil
	}, func() { all = nil }, query, args...)
	return all, err
}

func (s *Service) eachTarget(ctx context.Context, fn func(row shown, body string, sealed []byte) error, again func(), query string, args ...any) error {
	err := s.o.Store.View(ctx, func(tx store.Tx) error {
		again()
		return store.Each(ctx, tx, func(r store.Row) error {
			var body string
			var sealed []byte
			if err := r.Scan(&body, &sealed); err != nil {
				return err
			}
			var row shown
			if err := json.Unmarshal([]byte(body), &row); err != nil {
				return fmt.Errorf("decode notification: %w", err)
			}
			return fn(row, body, sealed)
		}, query, args...)
	})
	if err != nil {
		return fmt.Errorf("read notifications: %w", err)
	}
	return nil
}

func (s *Service) open(n *Notification, body string, sealed []byte) error {
	text, err := s.o.Keys.OpenBytes("notify", sealed, []byte(body))
	if err != nil {
		return fmt.Errorf("open notification %s: %w", n.Name, err)
	}
	var hidden sealedPart
	if err := json.Unmarshal(text, &hidden); err != nil {
		return fmt.Errorf("decode notification: %w", err)
	}
	n.Webhook.URL, n.Webhook.URLFrom, n.Webhook.Secret = hidden.URL, hidden.URLFrom, hidden.Secret
	return nil
}
