// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/audit"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/keeper"
	"github.com/goldkeep/goldkeep/internal/snapshot"
)

// Offline is what can be done with snapshots without a running server.
func Offline() keeper.Offline { return keeper.Offline{Drill: drill, Restore: restoreOffline} }

// rooms opens a server's rooms without its doors: nothing listens.
func openRooms(ctx context.Context, c Config) (*Server, error) {
	s := &Server{config: c, log: slog.New(slog.DiscardHandler)}
	for _, step := range []func(context.Context) error{s.openGround, s.openImages, s.openSecrets, s.openIdentity, s.openNotify} {
		if err := step(ctx); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	return s, nil
}

func openSnapshot(name, dir string) (*snapshot.Snapshot, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fault.New(fault.NotFound, "read snapshot: %w", err)
	}
	defer func() { _ = file.Close() }()
	return snapshot.Open(file, dir, nil)
}

// restoreOffline restores the server of a folder or a configuration.
func restoreOffline(ctx context.Context, r keeper.OfflineRequest) (_ *snapshot.Meta, err error) {
	c, err := settings{config: r.Config, data: r.Data}.configuration()
	if err != nil {
		return nil, err
	}
	s, err := openRooms(ctx, c.withDefaults())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	snap, err := openSnapshot(r.File, s.config.Data)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, snap.Close()) }()
	status, err := s.barrier.Status(ctx)
	if err != nil {
		return nil, err
	}
	if status.Initialized && status.ClusterID != snap.Meta.Cluster && !r.Force {
		return nil, fault.New(fault.Conflict, "the snapshot is of another server (%s, here is %s)", clip(snap.Meta.Cluster), clip(status.ClusterID)).
			WithHint("everything here would be lost, and other keys would unseal; if that is wanted, repeat with --force")
	}
	if _, err := s.alone(ctx); err != nil {
		return nil, err
	}
	if err := snap.Load(ctx, s.store, s.store.steps); err != nil {
		return nil, err
	}
	meta := snap.Meta
	return &meta, s.audit.Append(ctx, audit.Record{
		Kind: "event", ID: "restore", Op: "snapshot.restore", Actor: "system", Name: meta.ID, Answer: "allow", Sync: true,
		Reason: "a snapshot was restored while the server did not run",
	})
}

// drill restores a snapshot where it harms nobody, and looks at what came of it.
func drill(ctx context.Context, r keeper.OfflineRequest) (_ *keeper.DrillReport, err error) {
	start := time.Now()
	dir, err := os.MkdirTemp("", "goldkeep-drill-")
	if err != nil {
		return nil, fault.New(fault.Invalid, "make scratch folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c := Config{}
	if r.Config != "" {
		if c, err = ReadConfig(r.Config); err != nil {
			return nil, err
		}
	}
	snap, err := openSnapshot(r.File, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, snap.Close()) }()
	report := &keeper.DrillReport{Snapshot: snap.Meta, Rows: map[string]int{}, Problems: []string{}}
	for _, t := range snap.Meta.Tables {
		report.Rows[t.Name] = int(t.Rows)
	}
	s, err := scratch(ctx, snap, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	s.config.KeyFile, s.config.Seal = cmp.Or(r.KeyFile, c.KeyFile), c.Seal
	if err := lookInside(ctx, s, snap, report); err != nil {
		return nil, err
	}
	report.Took = time.Since(start)
	return report, keeper.LookAtAudit(ctx, r.AuditLog, report)
}

// scratch is a server, without doors, that holds the snapshot in a folder.
func scratch(ctx context.Context, snap *snapshot.Snapshot, dir string) (*Server, error) {
	c := Config{Data: dir, Node: "drill", Audit: Audit{MinFree: 1}}.withDefaults()
	c.Database = "" // never that of the environment
	s, err := openRooms(ctx, c)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(snap.Load(ctx, s.store, s.store.steps), s.Close()); err != nil {
		return nil, err
	}
	return openRooms(ctx, c) // which migrates it
}

// lookInside unseals the copy and opens all that is sealed in it.
func lookInside(ctx context.Context, s *Server, snap *snapshot.Snapshot, report *keeper.DrillReport) error {
	if s.config.KeyFile == "" && s.config.Seal.Type == "" {
		return nil
	}
	if err := s.unsealCopy(ctx); err != nil {
		report.Problems = append(report.Problems, "it cannot be unsealed: "+fault.Public(err))
		return nil
	}
	report.Unsealed = true
	var err error
	if report.Genuine, err = snap.MadeBy(s.barrier); err != nil {
		return err
	}
	if !report.Genuine {
		report.Problems = append(report.Problems, "it was changed since it was made, or was made by a sealed server")
	}
	return openAll(ctx, s.barrier.Space(), "", report)
}

// openAll opens every sealed entry below a folder.
func openAll(ctx context.Context, space barrier.Space, dir string, report *keeper.DrillReport) error {
	var names []string
	err := space.View(ctx, func(r barrier.Reader) (err error) { names, err = r.List(ctx, dir); return err })
	if err != nil {
		report.Problems = append(report.Problems, "a folder of sealed entries cannot be read: "+fault.Public(err))
		return ctx.Err()
	}
	for _, name := range names {
		path := dir + name
		if strings.HasSuffix(name, "/") {
			if err := openAll(ctx, space, path, report); err != nil {
				return err
			}
			continue
		}
		var entry *barrier.Entry
		err := space.View(ctx, func(r barrier.Reader) (err error) { entry, err = r.Get(ctx, path); return err })
		switch {
		case err != nil && len(report.Problems) < 20:
			report.Problems = append(report.Problems, "a sealed entry does not open: "+fault.Public(err))
		case err == nil && entry != nil:
			report.Opened++
		}
	}
	return ctx.Err()
}
