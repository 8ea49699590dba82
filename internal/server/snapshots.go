// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/gate"
	"github.com/goldkeep/goldkeep/internal/snapshot"
)

// ErrRestored is what Run returns after a snapshot was restored, or failed to be
// while the server was sealed for it: start the server anew.
var ErrRestored = fault.New(fault.Unavailable, "a snapshot was restored: the server starts anew")

// recorder is the store, which remembers the migrations of all rooms: they make
// the tables of a snapshot.
type recorder struct {
	snapshot.Source
	mu    sync.Mutex
	steps map[string][]string
}

// Migrate implements store.Store.
func (r *recorder) Migrate(ctx context.Context, room string, steps []string) error {
	r.mu.Lock()
	r.steps[room] = steps
	r.mu.Unlock()
	return r.Source.Migrate(ctx, room, steps)
}

// snapshots implements sys.Snapshots.
type snapshots struct {
	s    *Server
	one  sync.Mutex // restore at a time
	done chan struct{}
}

// Save implements sys.Snapshots.
func (n *snapshots) Save(ctx context.Context) (io.ReadCloser, error) {
	status, err := n.s.barrier.Status(ctx)
	if err != nil {
		return nil, err
	}
	file, meta, err := snapshot.Save(ctx, n.s.store, snapshot.About{
		Version: Version, Node: n.s.config.Node, Cluster: status.ClusterID, Store: n.s.storageName(),
		Seal: n.s.barrier, Dir: n.s.config.Data, Room: n.s.room,
	})
	if err != nil {
		return nil, err
	}
	n.s.log.Info("a snapshot was made", "id", meta.ID, "bytes", meta.Size)
	return file, nil
}

// Restore implements sys.Snapshots. All is checked before anything is touched;
// then the server is sealed, so that nobody writes with keys that may be gone,
// and the content is exchanged in one transaction.
func (n *snapshots) Restore(ctx context.Context, from io.Reader, force bool) (err error) {
	if !n.one.TryLock() {
		return fault.New(fault.Conflict, "another snapshot is being restored")
	}
	defer n.one.Unlock()
	snap, err := snapshot.Open(from, n.s.config.Data, n.s.room)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, snap.Close()) }()
	if err := n.fits(ctx, snap, force); err != nil {
		return err
	}
	release, err := n.s.alone(ctx)
	if err != nil {
		return err
	}
	if err := n.s.gate.Record(ctx, gate.Event{
		Name: "snapshot.restore", Subject: snap.Meta.ID, Answer: "allow", Reason: "a verified snapshot takes the place of everything",
		Detail: map[string]any{"made": snap.Meta.Time, "node": snap.Meta.Node, "force": force},
	}); err != nil {
		release()
		return err
	}
	defer close(n.done) // no second one: the server starts anew
	n.s.barrier.Seal()
	n.s.sealed()
	calm := context.WithoutCancel(ctx) // a client that hangs up must not decide
	start := time.Now()
	if err := snap.Load(calm, n.s.store, n.s.store.steps); err != nil {
		n.s.log.Error("restore snapshot: nothing was changed", "id", snap.Meta.ID, "error", err)
		return fault.New(fault.KindOf(err), "restore snapshot, nothing was changed: %w", err)
	}
	n.s.log.Warn("a snapshot was restored; the server starts anew", "id", snap.Meta.ID, "made", snap.Meta.Time, "took", time.Since(start))
	return nil
}

// alone makes sure that no other server uses the database, until it is closed.
func (s *Server) alone(ctx context.Context) (release func(), err error) {
	shared, ok := s.store.Source.(interface {
		Alone(ctx context.Context) (func(), error)
	})
	if !ok {
		return func() {}, nil
	}
	return shared.Alone(ctx)
}

// fits refuses what would leave a server nobody can unseal, or one that somebody
// changed on the way.
func (n *snapshots) fits(ctx context.Context, snap *snapshot.Snapshot, force bool) error {
	if err := snap.Fits(n.s.store.steps); err != nil {
		return err
	}
	if force {
		return nil
	}
	status, err := n.s.barrier.Status(ctx)
	if err != nil {
		return err
	}
	ours, err := snap.MadeBy(n.s.barrier)
	switch {
	case err != nil:
		return err
	case snap.Meta.Cluster != status.ClusterID:
		return fault.New(fault.Conflict, "the snapshot is of another server (%s, this is %s): after it other keys unseal", clip(snap.Meta.Cluster), clip(status.ClusterID)).
			WithHint("if you have the keys of that server, repeat with --force")
	case !ours:
		return fault.New(fault.Conflict, "nobody can say that this snapshot is as it was made: it was changed, or made while the server was sealed").
			WithHint("take one you trust; or repeat with --force")
	}
	return nil
}

func clip(id string) string { return id[:min(8, len(id))] }

// restored ends the server once a snapshot was restored.
func (s *Server) restored(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.snapshots.done:
		return ErrRestored
	}
}
