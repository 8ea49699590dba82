// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package keeper

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/term"
)

// rekeyed is how far a rekeying is; with the last old share it has the new ones.
type rekeyed struct {
	Nonce       string   `json:"nonce"`
	Complete    bool     `json:"complete"`
	KeysB64     []string `json:"keys_base64"`
	VerifyNonce string   `json:"verification_nonce"`
	Threshold   int      `json:"t"`
}

// rekeying is what the command was asked to do.
type rekeying struct {
	shares, threshold int
	recovery, verify  bool
	pgpKeys           []string // files
}

// folder is where the server does it.
func (r rekeying) folder() string {
	if r.recovery {
		return "/v1/sys/rotate/recovery/"
	}
	return "/v1/sys/rotate/root/"
}

// what are the shares called.
func (r rekeying) what() string {
	if r.recovery {
		return "recovery key"
	}
	return "key share"
}

func (a *commands) operatorRekeyCommand() *cobra.Command {
	var r rekeying
	cmd := &cobra.Command{
		Use: "rekey", Short: "Replace the key shares: the old ones unseal nothing afterwards", Args: term.Wanted(),
		Long: "Replace the key shares. Enough of the old ones are asked for, or read from standard input,\n" +
			"one a line; then the new ones are printed, once, and sent back to the server, which takes\n" +
			"them into use only then. Interrupted at any moment before, the old ones are in force.\n\n" +
			"With --pgp-keys each new share is encrypted for its holder, so that nobody else sees it;\n" +
			"the new shares are in force when enough holders have given theirs to: goldkeep operator\n" +
			"rekey --verify. Until then, and also if the server restarts, the old ones are.\n\n" +
			"With --recovery the recovery keys of a server that unseals itself are replaced. Of one\n" +
			"with a key file that has none yet they are made.",
		Example: "  goldkeep operator rekey --shares 5 --threshold 3\n  goldkeep operator rekey --shares 3 --threshold 2 -o json < shares.txt\n" +
			"  goldkeep operator rekey --shares 2 --threshold 2 --pgp-keys ann.asc,bob.asc\n  goldkeep operator rekey --verify < new-shares.txt",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if r.threshold < 1 || r.threshold > r.shares {
				return term.Usage(cmd, "--threshold must be from 1 to the number of shares (%d)", r.shares)
			}
			c, err := a.Client()
			if err != nil {
				return err
			}
			if r.verify {
				return a.verifyShares(cmd.Context(), c, r)
			}
			return a.rekey(cmd.Context(), c, r)
		},
	}
	cmd.Flags().IntVar(&r.shares, "shares", 5, "into how many shares the new key is split")
	cmd.Flags().IntVar(&r.threshold, "threshold", 3, "how many shares unseal")
	cmd.Flags().BoolVar(&r.recovery, "recovery", false, "replace the recovery keys of a server that unseals itself")
	cmd.Flags().BoolVar(&r.verify, "verify", false, "give new shares, which takes them into use")
	cmd.Flags().StringSliceVar(&r.pgpKeys, "pgp-keys", nil, "files of public PGP keys, one for each new share")
	return cmd
}

// rekey has new shares made, prints them, and only then has the server take them
// into use: an answer that is lost on the way loses no key.
func (a *commands) rekey(ctx context.Context, c *client.Client, r rekeying) error {
	made, err := a.newShares(ctx, c, r)
	if err != nil {
		return err
	}
	a.Note("this is shown once")
	err = a.Print(made.KeysB64, func(t *term.Table) {
		for i, k := range made.KeysB64 {
			t.Row(fmt.Sprintf("%s %d", r.what(), i+1), k)
		}
	})
	if err != nil {
		return a.callOff(ctx, c, r, made.Nonce, err)
	}
	if len(r.pgpKeys) > 0 {
		a.Note("the old ones are in force until %d holders have given theirs: goldkeep operator rekey --verify", r.threshold)
		return nil
	}
	left := made.KeysB64[:r.threshold]
	err = a.sendBack(ctx, c, r, made.VerifyNonce, func(string) (string, error) {
		if len(left) == 0 {
			return "", io.EOF
		}
		next := left[0]
		left = left[1:]
		return next, nil
	})
	if err != nil {
		return fault.New(fault.KindOf(err), "it is not certain that the new ones above are in force: %w", err).
			WithHint("keep both: a further goldkeep operator rekey takes only those in force, and changes nothing before its last step")
	}
	a.Note("the new ones are in force; the old ones are of no use any more")
	return nil
}

// newShares gives old shares until there are enough. An attempt that ends early is
// called off.
func (a *commands) newShares(ctx context.Context, c *client.Client, r rekeying) (*rekeyed, error) {
	keys, err := readPGP(r.pgpKeys)
	if err != nil {
		return nil, err
	}
	raw, err := c.Raw(ctx, "POST", r.folder()+"init", map[string]any{
		"secret_shares": r.shares, "secret_threshold": r.threshold, "require_verification": true, "pgp_keys": keys,
	})
	if err != nil {
		return nil, err
	}
	begun, err := inside[rekeyed](raw)
	if err != nil {
		return nil, err
	}
	next := a.SecretInput(ctx)
	for got := begun; ; {
		if got.Complete {
			return got, nil
		}
		share, err := next("old " + r.what())
		if err != nil || share == "" {
			return nil, a.callOff(ctx, c, r, begun.Nonce, noInput("old "+r.what(), err))
		}
		raw, err := c.Raw(ctx, "POST", r.folder()+"update", map[string]string{"key": share, "nonce": begun.Nonce})
		if err == nil {
			got, err = inside[rekeyed](raw)
		}
		if err != nil {
			return nil, a.callOff(ctx, c, r, begun.Nonce, err)
		}
	}
}

// callOff ends an attempt that came to nothing, because of err.
func (a *commands) callOff(ctx context.Context, c *client.Client, r rekeying, nonce string, err error) error {
	_ = c.Do(context.WithoutCancel(ctx), "DELETE", r.folder()+"init", map[string]string{"nonce": nonce}, nil) // it also ends with the server
	return err
}

// verifyShares has people give the new shares.
func (a *commands) verifyShares(ctx context.Context, c *client.Client, r rekeying) error {
	raw, err := c.Raw(ctx, "GET", r.folder()+"verify", nil)
	if err != nil {
		return err
	}
	begun, err := inside[rekeyed](raw)
	if err != nil {
		return err
	}
	if err := a.sendBack(ctx, c, r, begun.Nonce, a.SecretInput(ctx)); err != nil {
		return err
	}
	a.Note("the new ones are in force; the old ones are of no use any more")
	return nil
}

// sendBack gives new shares until there are enough.
func (a *commands) sendBack(ctx context.Context, c *client.Client, r rekeying, nonce string, next func(string) (string, error)) error {
	for {
		share, err := next("new " + r.what())
		if err != nil || share == "" {
			return noInput("new "+r.what(), err)
		}
		raw, err := c.Raw(ctx, "POST", r.folder()+"verify", map[string]string{"key": share, "nonce": nonce})
		if err != nil {
			return err
		}
		if got, err := inside[rekeyed](raw); err != nil || got.Complete {
			return err
		}
	}
}

// maxPGP bounds a file with a public key, in bytes.
const maxPGP = 1 << 20

// readPGP reads public keys from files, binary or armored.
func readPGP(files []string) (keys []string, err error) {
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			return nil, fault.New(fault.Invalid, "read PGP key: %w", err)
		}
		text, err := io.ReadAll(io.LimitReader(file, maxPGP))
		_ = file.Close()
		if err != nil {
			return nil, fault.New(fault.Invalid, "read PGP key: %w", err)
		}
		keys = append(keys, base64.StdEncoding.EncodeToString(text))
	}
	return keys, nil
}
