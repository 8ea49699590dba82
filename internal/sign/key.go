// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/provenance"
	"github.com/goldkeep/goldkeep/internal/term"
)

// KeyCommand is "goldkeep key".
func KeyCommand(t *term.Term) *cobra.Command {
	a := commands{t}
	list := term.Listing[client.SigningKey]{
		Short: "List the server's signing keys", Example: "  goldkeep key list", What: "keys",
		Ask:  (*client.Client).SigningKeys,
		Head: []any{"NAME", "PURPOSE", "ENVIRONMENT", "ALGORITHM", "CREATED"},
		Rows: func(t *term.Table, k client.SigningKey) {
			t.Row(k.Name, k.Purpose, k.Environment, k.Algorithm, k.Created)
		},
	}
	return term.Group("key", "Make keys that sign images, and see the server's", a.createCommand(), list.Command(t), a.showCommand(), a.deleteCommand())
}

type keyFlags struct {
	purpose, environment, algorithm string
	server, encrypt                 bool
}

func (a commands) createCommand() *cobra.Command {
	var o keyFlags
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a key that signs images", Args: term.Wanted("NAME"),
		Long: "Make a key that signs images. It is for one purpose: release keys sign approvals (image\n" +
			"sign), attestation keys what is so, good or bad (image attest). NAME is a file, whose public\n" +
			"half is put beside it (NAME.pub); with --in-server the key is made in the server and never\n" +
			"leaves it. Verdict keys, one for each environment, are in the server only.\n\n" +
			"--encrypt asks for a password (or takes GOLDKEEP_KEY_PASSWORD); cosign reads such a file too.",
		Example: "  goldkeep key create release.key --encrypt\n  goldkeep key create ci.key --purpose attestation\n" +
			"  goldkeep key create verdicts-prod --in-server --purpose verdict --env prod",
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.server {
				return a.createInServer(cmd.Context(), args[0], o)
			}
			if o.purpose == string(provenance.Verdict) {
				return term.Usage(cmd, "verdict keys are in the server: add --in-server")
			}
			return a.createFile(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.purpose, "purpose", string(provenance.Release), "release, attestation or verdict")
	f.StringVar(&o.environment, "env", "", "the environment of a verdict key")
	f.StringVar(&o.algorithm, "algorithm", string(provenance.ECDSA), "ecdsa-p256 or ed25519")
	f.BoolVar(&o.server, "in-server", false, "make it in the server")
	f.BoolVar(&o.encrypt, "encrypt", false, "encrypt the file with a password")
	return cmd
}

func (a commands) createFile(ctx context.Context, name string, o keyFlags) error {
	for _, path := range []string{name, name + ".pub"} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.Conflict, "%s is there already, and a key is never overwritten", path)
		}
	}
	key, err := provenance.NewKey(provenance.Purpose(o.purpose), o.environment, provenance.Algorithm(o.algorithm))
	if err != nil {
		return err
	}
	var password []byte
	if o.encrypt {
		if password, err = a.password(ctx, "password for "+name); err != nil {
			return err
		}
		if len(password) == 0 {
			return fault.New(fault.Invalid, "the password is empty")
		}
	}
	text, err := key.Marshal(password)
	if err != nil {
		return err
	}
	if err := term.WritePrivate(name, string(text)); err != nil {
		return err
	}
	if err := os.WriteFile(name+".pub", []byte(key.Public().PEM()), 0o644); err != nil {
		return fault.New(fault.Invalid, "write public key: %w", err)
	}
	made := client.SigningKey{Name: name, Purpose: o.purpose, Algorithm: o.algorithm, PublicKey: key.Public().PEM()}
	return a.Print(made, func(t *term.Table) {
		t.Row("private key", name)
		t.Row("public key", name+".pub")
		t.Row("purpose", o.purpose)
	})
}

func (a commands) createInServer(ctx context.Context, name string, o keyFlags) error {
	c, err := a.Client()
	if err != nil {
		return err
	}
	made, err := c.CreateSigningKey(ctx, client.SigningKey{Name: name, Purpose: o.purpose, Environment: o.environment, Algorithm: o.algorithm})
	if err != nil {
		return err
	}
	return a.Print(made, func(t *term.Table) { showKey(t, made) })
}

func showKey(t *term.Table, k *client.SigningKey) {
	t.Row("name", k.Name)
	t.Row("purpose", k.Purpose)
	if k.Environment != "" {
		t.Row("environment", k.Environment)
	}
	t.Row("algorithm", k.Algorithm)
	t.Row("created", k.Created)
}

// showCommand prints the public key alone, for a file.
func (a commands) showCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "Print the public half of a key in the server", Args: term.Wanted("NAME"),
		Example: "  goldkeep key show verdicts-prod > prod.pub\n  goldkeep key show release -o json",
		RunE: a.Online(func(ctx context.Context, c *client.Client, args []string) error {
			k, err := c.SigningKey(ctx, args[0])
			if err != nil {
				return err
			}
			if a.Output == "json" {
				return term.WriteJSON(a.Out, k)
			}
			_, err = fmt.Fprint(a.Out, k.PublicKey)
			return err
		}),
	}
}

func (a commands) deleteCommand() *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "Remove a key from the server, for ever", Args: term.Wanted("NAME"),
		Long:    "Remove a key from the server, for ever. What it has signed stays signed: to take that\nback, remove the Signer that names the key, or the signatures.",
		Example: "  goldkeep key delete verdicts-test",
		RunE: a.Online(func(ctx context.Context, c *client.Client, args []string) error {
			if err := c.DeleteSigningKey(ctx, args[0]); err != nil {
				return err
			}
			a.Note("the key %s is gone", args[0])
			return nil
		}),
	}
}
