// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	End      string          `json:"end"` // "anchored", "closed" or "open": see docs/audit.md
	Records  int             `json:"records"`
	First    uint64          `json:"first"`
	Last     audit.Anchor    `json:"last"`
	Problems []audit.Problem `json:"problems"`
}

func (a *commands) auditVerifyCommand() *cobra.Command {
	var anchors anchorFlags
	cmd := &cobra.Command{
		Use: "verify FILE...", Short: "Verify the chain of an audit log; needs no server", Args: term.Wanted("FILE..."),
		Long: "Verify the chain of an audit log; needs no server. Of one FILE, the older files beside it\n" +
			"(FILE.<number>) are read too; several are read in the order given. A record that was changed,\n" +
			"removed, moved or put in is reported, and the exit code is 1.\n\n" +
			"That the end was cut off, or that all was written anew, only an anchor shows: the running\n" +
			"server's word (--server), the anchor a stopped server's database has (goldkeep server\n" +
			"anchor), or a last record kept elsewhere (--anchor). The answer says how far the end is to\n" +
			"be trusted: anchored, closed (the last record is the one a server writes that stops), or open.",
		Example: "  goldkeep audit verify data/audit.log\n  goldkeep audit verify data/audit.log --server\n" +
			"  goldkeep server anchor --data data | goldkeep audit verify data/audit.log --anchor -\n  goldkeep audit verify data/audit.log -o json | jq .last > anchor.json\n  goldkeep audit verify data/audit.log --anchor anchor.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			against, err := a.anchors(cmd.Context(), anchors)
			if err != nil {
				return err
			}
			v, err := verifyLog(cmd.Context(), args, against)
			if err != nil {
				return err
			}
			err = a.Print(v, func(t *term.Table) {
				for _, p := range v.Problems {
					t.Row(fmt.Sprintf("%s:%d: record %d: %s", p.File, p.Line, p.Seq, p.Text))
				}
				if v.Sound {
					t.Row(fmt.Sprintf("sound: %d records, %d to %d, the last with hash %s", v.Records, v.First, v.Last.Seq, v.Last.Hash))
					t.Row(endText[v.End])
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
	cmd.Flags().StringVar(&anchors.file, "anchor", "", "file with a record that must be in the log (- is standard input): {\"seq\":..,\"hash\":..,\"node\":..}")
	cmd.Flags().BoolVar(&anchors.server, "server", false, "ask the running server, whose log this is, how far it has come")
	return cmd
}

// endText says what the end of a sound log is worth.
var endText = map[string]string{
	"anchored": "the end is anchored: nothing up to the anchor was cut off or written anew",
	"closed":   "the end is closed: the server stopped after this record; only an anchor shows that nothing was written anew",
	"open":     "the end is open: the server runs, or was killed; only an anchor shows whether records were cut off",
}

// anchorFlags say what a log is held against.
type anchorFlags struct {
	file   string
	server bool
}

// maxAnchor bounds an anchor's text in bytes.
const maxAnchor = 64 << 10

// anchors asks for the records that must be in the log. The server is asked
// before the log is read, which has moved on by then.
func (a *commands) anchors(ctx context.Context, f anchorFlags) (all []audit.Anchor, err error) {
	var text []byte
	switch f.file {
	case "":
	case "-":
		text, err = io.ReadAll(io.LimitReader(a.In, maxAnchor))
	default:
		text, err = os.ReadFile(f.file)
	}
	if f.file != "" {
		var anchor audit.Anchor
		if err == nil {
			err = json.Unmarshal(text, &anchor)
		}
		if err == nil && anchor.Hash == "" {
			err = errors.New("it names no record")
		}
		if err != nil {
			return nil, fault.New(fault.Invalid, "read anchor: %w", err)
		}
		all = append(all, anchor)
	}
	if !f.server {
		return all, nil
	}
	c, err := a.Client()
	if err != nil {
		return nil, err
	}
	head, err := c.AuditAnchor(ctx)
	if err != nil {
		return nil, err
	}
	return append(all, audit.Anchor(*head)), nil
}

func verifyLog(ctx context.Context, files []string, anchors []audit.Anchor) (verified, error) {
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
	r, err := audit.VerifyAgainst(ctx, files, anchors)
	if err != nil {
		return verified{}, fault.New(fault.Invalid, "verify log: %w", err)
	}
	v := verified{Sound: len(r.Problems) == 0, Records: r.Records, First: r.First, Last: r.Last, Problems: r.Problems}
	switch {
	case len(anchors) > 0:
		v.End = "anchored"
	case r.Ended:
		v.End = "closed"
	default:
		v.End = "open"
	}
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
