// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// stored is an instance's row body; the accessor is kept too.
type stored struct {
	Instance
	Accessor string `json:"accessor"`
}

var errUnchanged = errors.New("nothing to change")

func (s *Service) insert(ctx context.Context, in Instance) error {
	err := s.o.Store.Update(ctx, func(tx store.Tx) error { return s.write(ctx, tx, &in) })
	if err == nil {
		s.announce()
	}
	return err
}

// write keeps an instance under the next revision.
func (s *Service) write(ctx context.Context, tx store.Tx, in *Instance) error {
	if err := tx.QueryRow(ctx, "SELECT COALESCE(MAX(revision), 0) + 1 FROM identity_instance").Scan(&in.Revision); err != nil {
		return fmt.Errorf("count revision: %w", err)
	}
	body, err := json.Marshal(stored{*in, in.Accessor})
	if err != nil {
		return fmt.Errorf("encode instance: %w", err)
	}
	_, err = tx.Exec(ctx, `INSERT INTO identity_instance (id, workload, environment, node, image, state, settled, expires, revision, body)
		VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state, settled = 0,
			expires = excluded.expires, revision = excluded.revision, body = excluded.body`,
		in.ID, in.Workload, in.Environment, in.Node, string(in.Image), string(in.State), store.Millis(in.Expires), in.Revision, string(body))
	return err
}

// change edits an instance in one transaction; edit may run more than once.
func (s *Service) change(ctx context.Context, id string, edit func(*Instance) error) (Instance, error) {
	var in Instance
	err := s.o.Store.Update(ctx, func(tx store.Tx) error {
		var body string
		err := tx.QueryRow(ctx, "SELECT body FROM identity_instance WHERE id = ?", id).Scan(&body)
		if errors.Is(err, store.ErrNoRows) {
			return fault.New(fault.NotFound, "there is no instance %q", id)
		}
		if err != nil {
			return fmt.Errorf("read instance: %w", err)
		}
		if in, err = decode(body); err != nil {
			return err
		}
		if err := edit(&in); err != nil {
			return err
		}
		return s.write(ctx, tx, &in)
	})
	if err == nil {
		s.announce()
	}
	return in, err
}

func (s *Service) settled(ctx context.Context, id string) error {
	return s.o.Store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE identity_instance SET settled = 1 WHERE id = ?", id)
		return err
	})
}

func decode(body string) (Instance, error) {
	var row stored
	if err := json.Unmarshal([]byte(body), &row); err != nil {
		return Instance{}, fmt.Errorf("decode instance: %w", err)
	}
	row.Instance.Accessor = row.Accessor
	return row.Instance, nil
}

// instances returns those a condition selects, oldest change first.
func (s *Service) instances(ctx context.Context, where string, args ...any) ([]Instance, error) {
	var all []Instance
	err := s.o.Store.View(ctx, func(tx store.Tx) error {
		all = []Instance{}
		return store.Each(ctx, tx, func(r store.Row) error {
			var body string
			if err := r.Scan(&body); err != nil {
				return err
			}
			in, err := decode(body)
			all = append(all, in)
			return err
		}, "SELECT body FROM identity_instance WHERE "+where+" ORDER BY revision", args...)
	})
	return all, err
}

// Get returns one instance; fault.NotFound where there is none.
func (s *Service) Get(ctx context.Context, id string) (*Instance, error) {
	found, err := s.instances(ctx, "id = ?", id)
	if err == nil && len(found) == 0 {
		err = fault.New(fault.NotFound, "there is no instance %q", id)
	}
	if err != nil {
		return nil, err
	}
	return &found[0], nil
}

// List returns the instances, those that ended only where all is set.
func (s *Service) List(ctx context.Context, all bool) ([]Instance, error) {
	if all {
		return s.instances(ctx, "1 = 1")
	}
	return s.instances(ctx, "state <> 'gone'")
}

// Change is what a watching agent is told.
type Change struct {
	Revision        int64
	SecretsRevision int64
	Instances       []Instance
}

// Watch waits until an instance of a node changed after a revision, or until
// secrets changed after secretsSince, or until timeout.
func (s *Service) Watch(ctx context.Context, node string, since, secretsSince int64, timeout time.Duration) (Change, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	look := time.NewTicker(beat) // other nodes' changes are found by looking
	defer look.Stop()
	for {
		s.mu.Lock()
		changed, secrets := s.changed, s.secrets
		s.mu.Unlock()
		found, err := s.instances(context.WithoutCancel(ctx), "node = ? AND revision > ?", node, since)
		if err != nil {
			return Change{}, err
		}
		c := Change{Revision: since, SecretsRevision: secrets, Instances: found}
		if n := len(found); n > 0 {
			c.Revision = found[n-1].Revision
		}
		if len(found) > 0 || secrets != secretsSince {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return c, nil
		case <-changed:
		case <-look.C:
		}
	}
}

// SecretsChanged wakes the watching agents: some secret was written.
func (s *Service) SecretsChanged() {
	s.mu.Lock()
	s.secrets++
	s.mu.Unlock()
	s.announce()
}

func (s *Service) announce() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}
