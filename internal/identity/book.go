// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/fleet"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
)

// stored is an instance's row body; the accessor is kept too.
type stored struct {
	Instance
	Accessor string `json:"accessor"`
}

var errUnchanged = errors.New("nothing to change")

// A change is either known to the audit log by the request that asked for it, or
// it is a decision of ours: then it is pending until it has been recorded and,
// where the instance is over, its tokens are gone.
const (
	quietly = false
	pending = true
)

func (s *Service) insert(ctx context.Context, in *Instance) error {
	err := s.o.Store.Update(ctx, func(tx store.Tx) error {
		if err := s.o.Catalog.Watch(ctx, tx, catalog.Pair{Image: in.Image, Environment: in.Environment}); err != nil {
			return err
		}
		return s.write(ctx, tx, in, quietly)
	})
	if err == nil {
		s.announce()
	}
	return err
}

// write keeps an instance under the next revision.
func (s *Service) write(ctx context.Context, tx store.Tx, in *Instance, due bool) error {
	if err := tx.QueryRow(ctx, "SELECT COALESCE(MAX(revision), 0) + 1 FROM identity_instance").Scan(&in.Revision); err != nil {
		return fmt.Errorf("count revision: %w", err)
	}
	body, err := json.Marshal(stored{*in, in.Accessor})
	if err != nil {
		return fmt.Errorf("encode instance: %w", err)
	}
	var until int64
	if due {
		until = in.Revision
	}
	_, err = tx.Exec(ctx, `INSERT INTO identity_instance (id, workload, environment, node, image, state, expires, revision, pending, noted, body)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET state = excluded.state,
			expires = excluded.expires, revision = excluded.revision, body = excluded.body, noted = excluded.noted,
			pending = CASE WHEN excluded.pending > 0 THEN excluded.pending ELSE identity_instance.pending END`,
		in.ID, in.Workload, in.Environment, in.Node, string(in.Image), string(in.State), store.Millis(in.Expires), in.Revision,
		until, store.Millis(s.o.Store.Now()), string(body))
	if err != nil {
		return fmt.Errorf("keep instance: %w", err)
	}
	return nil
}

// change edits an instance in one transaction; edit may run more than once.
func (s *Service) change(ctx context.Context, id string, due bool, edit func(*Instance) error) (Instance, error) {
	var in Instance
	err := s.o.Store.Update(ctx, func(tx store.Tx) error {
		var body string
		err := tx.QueryRow(ctx, "SELECT body FROM identity_instance WHERE id = ?", id).Scan(&body)
		if errors.Is(err, store.ErrNoRows) {
			return notFound(id)
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
		// Whoever sees the instance ended must not find its token alive.
		if in.over() && !s.o.Sealed() {
			if err := s.o.Tokens.EndInstance(ctx, tx, in.ID); err != nil {
				return fmt.Errorf("end tokens of instance %s: %w", in.ID, err)
			}
		}
		return s.write(ctx, tx, &in, due)
	})
	if err == nil {
		s.announce()
	}
	return in, err
}

func notFound(id string) error {
	return fault.New(fault.NotFound, "there is no instance %q", id).WithHint("see them with: goldkeep instance list")
}

// settle notes that nothing is left to do for a change.
func (s *Service) settle(ctx context.Context, c pendingChange) error {
	return s.o.Store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE identity_instance SET pending = 0 WHERE id = ? AND pending = ?", c.in.ID, c.revision)
		return err
	})
}

// pendingChange is a change of an instance that is not settled yet.
type pendingChange struct {
	in       Instance
	revision int64 // the change's
}

// pendingChanges returns up to limit changes noted by a time, oldest first.
func (s *Service) pendingChanges(ctx context.Context, noted time.Time, limit int) ([]pendingChange, error) {
	var all []pendingChange
	err := s.o.Store.View(ctx, func(tx store.Tx) error {
		all = nil
		return store.Each(ctx, tx, func(r store.Row) error {
			var body string
			var c pendingChange
			if err := r.Scan(&body, &c.revision); err != nil {
				return err
			}
			var err error
			c.in, err = decode(body)
			all = append(all, c)
			return err
		}, "SELECT body, pending FROM identity_instance WHERE pending > 0 AND noted <= ? ORDER BY noted LIMIT ?", store.Millis(noted), limit)
	})
	return all, err
}

// forget removes instances that have been over for a long time; the audit log
// still knows them.
func (s *Service) forget(ctx context.Context, ended time.Time, limit int) error {
	old, err := s.instances(ctx, "state IN ('revoked', 'gone') AND pending = 0 AND expires <= ? ORDER BY expires LIMIT ?", store.Millis(ended), limit)
	if err != nil || len(old) == 0 {
		return err
	}
	return s.o.Store.Update(ctx, func(tx store.Tx) error {
		for _, in := range old {
			if _, err := tx.Exec(ctx, "DELETE FROM identity_instance WHERE id = ? AND pending = 0", in.ID); err != nil {
				return fmt.Errorf("forget instance: %w", err)
			}
		}
		return nil
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

// instances returns those a condition selects. The condition ends in an order.
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
		}, "SELECT body FROM identity_instance WHERE "+where, args...)
	})
	if err != nil {
		return nil, fmt.Errorf("read instances: %w", err)
	}
	return all, nil
}

// On returns the running instances of images, oldest change first for each.
func (s *Service) On(ctx context.Context, ids []image.Digest) ([]Instance, error) {
	all := []Instance{}
	err := fleet.InChunks(ids, func(marks string, args []any) error {
		for i := range args {
			args[i] = fmt.Sprint(args[i])
		}
		found, err := s.instances(ctx, "image IN ("+marks+") AND state IN ('active', 'warned') ORDER BY image, revision", args...)
		all = append(all, found...)
		return err
	})
	return all, err
}

// Get returns one instance; fault.NotFound where there is none.
func (s *Service) Get(ctx context.Context, id string) (*Instance, error) {
	found, err := s.instances(ctx, "id = ?", id)
	if err == nil && len(found) == 0 {
		err = notFound(id)
	}
	if err != nil {
		return nil, err
	}
	return &found[0], nil
}

// MaxList bounds the instances of one list.
const MaxList = 1000

// Query says which instances to list.
type Query struct {
	Ended bool   // also those that are gone
	Node  string // of one node only; "": of all
	After int64  // changed after a revision
	Limit int    // at most MaxList, which 0 stands for
}

// List returns instances, oldest change first.
func (s *Service) List(ctx context.Context, q Query) ([]Instance, error) {
	if q.Limit <= 0 || q.Limit > MaxList {
		q.Limit = MaxList
	}
	ended := ""
	if q.Ended {
		ended = string(Gone)
	}
	return s.instances(ctx, `revision > ? AND (? = '' OR node = ?) AND (state <> 'gone' OR state = ?) ORDER BY revision LIMIT ?`,
		q.After, q.Node, q.Node, ended, q.Limit)
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
		changed := s.changed // taken before looking, so that no change is missed
		s.mu.Unlock()
		c, err := s.look(context.WithoutCancel(ctx), node, since)
		if err != nil {
			return Change{}, err
		}
		if len(c.Instances) > 0 || c.SecretsRevision != secretsSince {
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

// look is what a node would be told now.
func (s *Service) look(ctx context.Context, node string, since int64) (Change, error) {
	found, err := s.instances(ctx, "node = ? AND revision > ? ORDER BY revision LIMIT ?", node, since, MaxList)
	if err != nil {
		return Change{}, err
	}
	c := Change{Revision: since, Instances: found}
	if n := len(found); n > 0 {
		c.Revision = found[n-1].Revision
	}
	c.SecretsRevision, err = s.secretsRevision(ctx)
	return c, err
}

// SecretsChanged wakes the watching agents: some secret was written. Agents that
// watch another node are woken within two beats.
func (s *Service) SecretsChanged() {
	s.mu.Lock()
	s.secrets++
	s.mu.Unlock()
	s.announce()
}

// secretsRevision counts the writes to secrets: of this node where it is the only
// one, else as all nodes have published them.
func (s *Service) secretsRevision(ctx context.Context) (int64, error) {
	if s.o.Store.Exclusive() {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.secrets, nil
	}
	var n int64
	err := s.o.Store.View(ctx, func(tx store.Tx) error {
		return tx.QueryRow(ctx, "SELECT COALESCE(MAX(revision), 0) FROM identity_secrets").Scan(&n)
	})
	return n, err
}

// publish tells the other nodes that secrets were written here.
func (s *Service) publish(ctx context.Context) error {
	s.mu.Lock()
	written, told := s.secrets, s.published
	s.mu.Unlock()
	if written == told || s.o.Store.Exclusive() {
		return nil
	}
	err := s.o.Store.Update(ctx, func(tx store.Tx) error {
		_, err := tx.Exec(ctx, "INSERT INTO identity_secrets (id, revision) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET revision = identity_secrets.revision + 1")
		return err
	})
	if err != nil {
		return fmt.Errorf("publish that secrets changed: %w", err)
	}
	s.mu.Lock()
	s.published = written
	s.mu.Unlock()
	s.announce()
	return nil
}

func (s *Service) announce() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}
