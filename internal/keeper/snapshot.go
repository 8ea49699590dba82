// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package keeper

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/audit"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/snapshot"
	"github.com/goldkeep/goldkeep/internal/term"
)

// Offline does what needs the server's parts, but no running server.
type Offline struct {
	Drill   func(ctx context.Context, r OfflineRequest) (*DrillReport, error)
	Restore func(ctx context.Context, r OfflineRequest) (*snapshot.Meta, error)
}

// OfflineRequest names a snapshot and what to do it with. All but File may be
// left out.
type OfflineRequest struct {
	File     string
	Config   string // the server's configuration
	Data     string // the server's folder
	KeyFile  string // unseals the copy
	AuditLog string // must hold the records the snapshot names
	Force    bool
}

// DrillReport is what a drill found out.
type DrillReport struct {
	Good     bool           `json:"good"`
	Snapshot snapshot.Meta  `json:"snapshot"`
	Unsealed bool           `json:"unsealed"`        // with the key that was given
	Genuine  bool           `json:"genuine"`         // made by a server with these keys, and not changed since
	Opened   int            `json:"opened"`          // sealed entries that were decrypted
	Audit    string         `json:"audit,omitempty"` // what the audit log says
	Rows     map[string]int `json:"rows"`            // by table
	Problems []string       `json:"problems"`
	Took     time.Duration  `json:"took"` // in nanoseconds
}

func (a *commands) snapshotCommand(off Offline) *cobra.Command {
	return term.Group("snapshot", "Copy all the server holds, bring it back, and try whether that works",
		a.snapshotSaveCommand(), a.snapshotRestoreCommand(off), a.snapshotDrillCommand(off))
}

func (a *commands) snapshotSaveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "save FILE", Short: "Save a snapshot of the running server", Args: term.Wanted("FILE"),
		Long: "Save a snapshot of all the server holds, as it is at one point in time, while it goes on.\n" +
			"What is sealed stays sealed: the snapshot is of no use without the key file or the key\n" +
			"shares, which are not in it. The file is checked before it gets its name.",
		Example: "  goldkeep operator snapshot save goldkeep.snapshot",
		RunE: a.Online(func(ctx context.Context, c *client.Client, args []string) error {
			meta, err := save(ctx, c, args[0])
			if err != nil {
				return err
			}
			return a.Print(meta, func(t *term.Table) { metaRows(t, meta) })
		}),
	}
}

// save writes a snapshot beside its place, verifies it, and moves it there.
func save(ctx context.Context, c *client.Client, name string) (_ *snapshot.Meta, err error) {
	dir := filepath.Dir(name)
	part, err := os.CreateTemp(dir, ".snapshot-*.part")
	if err != nil {
		return nil, fault.New(fault.Invalid, "write snapshot: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(part.Name()))
		}
	}()
	err = c.SaveSnapshot(ctx, part)
	if err = errors.Join(err, part.Sync(), part.Close()); err != nil {
		return nil, err
	}
	meta, err := verifySnapshot(part.Name())
	if err != nil {
		return nil, err
	}
	return meta, os.Rename(part.Name(), name)
}

// verifySnapshot verifies a snapshot in a file.
func verifySnapshot(name string) (*snapshot.Meta, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fault.New(fault.NotFound, "read snapshot: %w", err)
	}
	defer func() { _ = file.Close() }()
	snap, err := snapshot.Open(file, filepath.Dir(name), nil)
	if err != nil {
		return nil, err
	}
	return &snap.Meta, snap.Close()
}

func metaRows(t *term.Table, m *snapshot.Meta) {
	var rows int64
	for _, table := range m.Tables {
		rows += table.Rows
	}
	t.Row("snapshot", m.ID)
	t.Row("made", m.Time.UTC().Format(time.RFC3339)+" by "+m.Node+" (goldkeep "+m.Version+", "+m.Store+")")
	t.Row("cluster", m.Cluster)
	t.Row("content", fmt.Sprintf("%d rows in %d tables, %d bytes", rows, len(m.Tables), m.Size))
	for _, anchor := range m.Audit {
		t.Row("audit log", fmt.Sprintf("of %s had come to record %d", anchor.Node, anchor.Seq))
	}
}

func (a *commands) snapshotRestoreCommand(off Offline) *cobra.Command {
	r := OfflineRequest{}
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Put a snapshot in the place of all the server holds", Args: term.Wanted("FILE"),
		Long: "Put a snapshot in the place of all the server holds. It is verified first, and exchanged in\n" +
			"one step: whatever happens, the server holds the old or the new. Tokens, leases and\n" +
			"revocations are as they were then. The command ends when the server has started anew; one\n" +
			"that is unsealed with key shares is sealed then. Stop all other servers of the database first.\n\n" +
			"A snapshot of another server, or one that was changed, is refused without --force. With\n" +
			"--data or --config a server that does not run is restored, for example an empty one.",
		Example: "  goldkeep operator snapshot restore goldkeep.snapshot\n" +
			"  goldkeep operator snapshot restore goldkeep.snapshot --data /var/lib/goldkeep   # no server runs",
		RunE: func(cmd *cobra.Command, args []string) error {
			r.File = args[0]
			if r.Data != "" || r.Config != "" {
				meta, err := off.Restore(cmd.Context(), r)
				if err != nil {
					return err
				}
				a.Note("restored; start the server")
				return a.Print(meta, func(t *term.Table) { metaRows(t, meta) })
			}
			c, err := a.Client()
			if err != nil {
				return err
			}
			return a.restoreOnline(cmd.Context(), c, r)
		},
	}
	cmd.Flags().BoolVar(&r.Force, "force", false, "take a snapshot of another server, or one nobody vouches for")
	cmd.Flags().StringVar(&r.Data, "data", "", "restore the server of this folder, which does not run")
	cmd.Flags().StringVar(&r.Config, "config", "", "restore the server of this configuration, which does not run")
	return cmd
}

// anewBound is how long a server may take to start anew.
const anewBound = 2 * time.Minute

func (a *commands) restoreOnline(ctx context.Context, c *client.Client, r OfflineRequest) error {
	meta, err := verifySnapshot(r.File)
	if err != nil {
		return err
	}
	file, err := os.Open(r.File)
	if err != nil {
		return fault.New(fault.NotFound, "read snapshot: %w", err)
	}
	defer func() { _ = file.Close() }()
	if err := c.RestoreSnapshot(ctx, file, r.Force); err != nil {
		return err
	}
	status, err := awaitServer(ctx, c)
	if err != nil {
		return err
	}
	a.Note("restored, as of %s", meta.Time.UTC().Format(time.RFC3339))
	if status.Sealed {
		a.Hint("the server is sealed: goldkeep operator unseal")
	}
	return a.Print(meta, func(t *term.Table) { metaRows(t, meta) })
}

// awaitServer waits until a server that starts anew answers. One that has not
// stopped yet says that it is sealed, so that a few answers are not enough.
func awaitServer(ctx context.Context, c *client.Client) (*client.SealStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, anewBound)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for answers := 0; ; {
		status, err := c.SealStatus(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, fault.New(fault.Unavailable, "restored, but the server does not answer: %w", err)
		case err == nil:
			answers++
		}
		if err == nil && (!status.Sealed || answers > 15) {
			return status, nil
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

func (a *commands) snapshotDrillCommand(off Offline) *cobra.Command {
	r := OfflineRequest{}
	cmd := &cobra.Command{
		Use: "drill FILE", Short: "Try whether a snapshot can be restored; touches nothing", Args: term.Wanted("FILE"),
		Long: "Restore a snapshot into a scratch database, migrate it, and report. With the key file (or a\n" +
			"configuration that says how to unseal) every sealed entry is opened, and it is shown that a\n" +
			"server with these keys made the snapshot. With the audit log the records the snapshot names\n" +
			"are looked up. No server is needed and none is touched. Exit code 1 where anything is wrong.",
		Example: "  goldkeep operator snapshot drill goldkeep.snapshot --key-file /etc/goldkeep/key\n" +
			"  goldkeep operator snapshot drill goldkeep.snapshot --key-file key --audit-log data/audit.log -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			r.File = args[0]
			report, err := off.Drill(cmd.Context(), r)
			if err != nil {
				return err
			}
			if err := a.Print(report, func(t *term.Table) { drillRows(t, report) }); err != nil {
				return err
			}
			if !report.Good {
				return term.Answered(term.ExitFailed)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&r.KeyFile, "key-file", "", "key file that unseals the copy")
	cmd.Flags().StringVar(&r.Config, "config", "", "server configuration that says how to unseal the copy")
	cmd.Flags().StringVar(&r.AuditLog, "audit-log", "", "audit log that must hold the records the snapshot names")
	return cmd
}

func drillRows(t *term.Table, r *DrillReport) {
	metaRows(t, &r.Snapshot)
	if r.Unsealed {
		t.Row("unsealed", fmt.Sprintf("yes, %d sealed entries opened", r.Opened))
		t.Row("genuine", yesNo(r.Genuine))
	} else {
		t.Row("unsealed", "no key was given: only the outside was checked")
	}
	if r.Audit != "" {
		t.Row("audit", r.Audit)
	}
	t.Row("took", r.Took.Round(time.Millisecond))
	for _, p := range r.Problems {
		t.Row("problem", p)
	}
	if r.Good {
		t.Row("result", "this snapshot can be restored")
	} else {
		t.Row("result", "NOT good")
	}
}

// LookAtAudit finds the records a snapshot names in the audit log, and concludes
// the drill.
func LookAtAudit(ctx context.Context, log string, report *DrillReport) error {
	defer func() { report.Good = len(report.Problems) == 0 }()
	if log == "" {
		return nil
	}
	files, err := audit.Files(log)
	if err != nil || len(files) == 0 {
		return fault.New(fault.NotFound, "there is no audit log at %s", log)
	}
	res, err := audit.VerifyFiles(ctx, files, nil)
	if err != nil {
		return err
	}
	var anchors []audit.Anchor
	for _, a := range report.Snapshot.Audit {
		if a.Node == res.Last.Node {
			anchors = append(anchors, audit.Anchor(a))
		}
	}
	if res, err = audit.VerifyAgainst(ctx, files, anchors); err != nil {
		return err
	}
	for _, p := range res.Problems {
		report.Problems = append(report.Problems, fmt.Sprintf("audit log %s:%d: %s", filepath.Base(p.File), p.Line, p.Text))
	}
	report.Audit = fmt.Sprintf("%d records of %s, %d of them named by the snapshot", res.Records, res.Last.Node, len(anchors))
	if len(anchors) == 0 {
		report.Problems = append(report.Problems, "the snapshot names no record of this audit log: it is of another node")
	}
	return nil
}
