// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package keeper

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/audit"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/term"
)

func (a *commands) auditCommand() *cobra.Command {
	return term.Group("audit", "Read the audit log, and verify that nobody changed it", a.auditShowCommand(), a.auditVerifyCommand())
}

// verified is what "audit verify" answers.
type verified struct {
	Sound    bool            `json:"sound"`
	Records  int             `json:"records"`
	First    uint64          `json:"first"`
	Last     audit.Anchor    `json:"last"`
	Problems []audit.Problem `json:"problems"`
}

func (a *commands) auditVerifyCommand() *cobra.Command {
	var anchor string
	cmd := &cobra.Command{
		Use: "verify FILE...", Short: "Verify the chain of an audit log; needs no server", Args: term.Wanted("FILE..."),
		Long: "Verify the chain of an audit log; needs no server. Of one FILE, the older files beside it\n" +
			"(FILE.<number>) are read too; several are read in the order given. A record that was changed,\n" +
			"removed, moved or put in is reported, and the exit code is 1. Only an anchor (the last\n" +
			"record as -o json shows it, kept elsewhere) shows that the end was cut off.",
		Example: "  goldkeep audit verify data/audit.log\n  goldkeep audit verify data/audit.log -o json | jq .last > anchor.json\n  goldkeep audit verify data/audit.log --anchor anchor.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := verifyLog(cmd.Context(), args, anchor)
			if err != nil {
				return err
			}
			err = a.Print(v, func(t *term.Table) {
				for _, p := range v.Problems {
					t.Row(fmt.Sprintf("%s:%d: record %d: %s", p.File, p.Line, p.Seq, p.Text))
				}
				if v.Sound {
					t.Row(fmt.Sprintf("sound: %d records, %d to %d, the last with hash %s", v.Records, v.First, v.Last.Seq, v.Last.Hash))
				} else {
					t.Row(fmt.Sprintf("not sound: %d records, %d problems", v.Records, len(v.Problems)))
				}
			})
			if err == nil && !v.Sound {
				return term.Answered(term.ExitFailed)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&anchor, "anchor", "", "file with a record that must be in the log: {\"seq\":..,\"hash\":..,\"node\":..}")
	return cmd
}

func verifyLog(ctx context.Context, files []string, anchorFile string) (verified, error) {
	var anchor *audit.Anchor
	if anchorFile != "" {
		text, err := os.ReadFile(anchorFile)
		if err == nil {
			anchor = &audit.Anchor{}
			err = json.Unmarshal(text, anchor)
		}
		if err != nil {
			return verified{}, fault.New(fault.Invalid, "read anchor: %w", err)
		}
	}
	for _, f := range files {
		if _, err := os.Stat(f); err != nil {
			return verified{}, fault.New(fault.NotFound, "verify log: %w", err)
		}
	}
	if len(files) == 1 {
		all, err := audit.Files(files[0])
		if err != nil {
			return verified{}, fault.New(fault.Invalid, "verify log: %w", err)
		}
		files = all
	}
	r, err := audit.VerifyFiles(ctx, files, anchor)
	if err != nil {
		return verified{}, fault.New(fault.Invalid, "verify log: %w", err)
	}
	v := verified{Sound: len(r.Problems) == 0, Records: r.Records, First: r.First, Last: r.Last, Problems: r.Problems}
	if v.Problems == nil {
		v.Problems = []audit.Problem{}
	}
	return v, nil
}

func (a *commands) auditShowCommand() *cobra.Command {
	var after uint64
	var limit int
	cmd := term.Listing[client.AuditRecord]{
		Short:   "Show records of the server's audit log, oldest first",
		Example: "  goldkeep audit show\n  goldkeep audit show --after 1200 --limit 100 -o json   # with all detail you may read", What: "records",
		Ask: func(c *client.Client, ctx context.Context) ([]client.AuditRecord, error) {
			return c.Audit(ctx, after, limit)
		},
		Head: []any{"SEQ", "TIME", "KIND", "OP", "MOUNT", "WHO", "ANSWER", "REASON"},
		Rows: func(t *term.Table, r client.AuditRecord) {
			t.Row(r.Seq, r.Time.UTC().Format("2006-01-02 15:04:05"), r.Kind, r.Op, r.Mount, term.First(r.Name, r.Actor), r.Answer, r.Reason)
		},
	}.Command(a.Term)
	cmd.Use = "show"
	cmd.Flags().Uint64Var(&after, "after", 0, "only records with a higher number")
	cmd.Flags().IntVar(&limit, "limit", 50, "at most so many")
	return cmd
}
