// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	xterm "golang.org/x/term"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Client makes the connection that flags and environment describe. It does not
// connect yet.
func (a *Term) Client() (*client.Client, error) {
	token, err := a.Token()
	if err != nil {
		return nil, err
	}
	c, err := client.New(client.Config{
		Addr:   First(a.Addr, a.Env("ADDR")),
		Token:  token,
		CACert: First(a.CACert, a.Env("CACERT")),
	})
	if err != nil {
		return nil, fault.New(fault.Invalid, "%w", err)
	}
	return c, nil
}

// Env reads a variable of ours, or else the one Vault's tools have for it.
func (a *Term) Env(name string) string {
	return First(a.Getenv("GOLDKEEP_"+name), a.Getenv("VAULT_"+name))
}

// First returns the first text that is not empty.
func First(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// Token finds the token: in the file named, the environment, or where login put it.
func (a *Term) Token() (string, error) {
	if a.TokenFile != "" {
		text, err := os.ReadFile(a.TokenFile)
		if err != nil {
			return "", fault.New(fault.Invalid, "read token: %w", err)
		}
		return strings.TrimSpace(string(text)), nil
	}
	if t := a.Env("TOKEN"); t != "" {
		return t, nil
	}
	text, err := os.ReadFile(a.KeptToken())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fault.New(fault.Invalid, "read token: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// KeptToken is where login keeps the token.
func (a *Term) KeptToken() string { return filepath.Join(a.Getenv("HOME"), ".goldkeep-token") }

// DataFolder is where the local advisory database is, after the XDG base directory
// specification.
func (a *Term) DataFolder() string {
	return filepath.Join(First(a.Getenv("XDG_DATA_HOME"), filepath.Join(a.Getenv("HOME"), ".local", "share")), "goldkeep")
}

// LayerFolder is where what was read of layers is kept.
func (a *Term) LayerFolder() string {
	return filepath.Join(First(a.Getenv("XDG_CACHE_HOME"), filepath.Join(a.Getenv("HOME"), ".cache")), "goldkeep", "layers")
}

// IsTerminal reports whether a stream is a terminal.
func IsTerminal(stream any) (*os.File, bool) {
	f, ok := stream.(*os.File)
	return f, ok && xterm.IsTerminal(int(f.Fd()))
}

// SecretInput returns a function that reads secrets, which must not stand on the
// command line: each call asks for one without echo on a terminal, and else takes
// the next line of standard input. io.EOF: there is no more.
func (a *Term) SecretInput(ctx context.Context) func(what string) (string, error) {
	if f, ok := IsTerminal(a.In); ok {
		return func(what string) (string, error) {
			fmt.Fprintf(a.Err, "%s (not shown): ", what)
			defer fmt.Fprintln(a.Err)
			before, err := xterm.GetState(int(f.Fd()))
			if err != nil {
				return "", err
			}
			text, err := await(ctx, func() ([]byte, error) { return xterm.ReadPassword(int(f.Fd())) })
			if ctx.Err() != nil {
				err = errors.Join(err, xterm.Restore(int(f.Fd()), before))
			}
			return strings.TrimSpace(string(text)), err
		}
	}
	lines := bufio.NewScanner(a.In)
	return func(string) (string, error) {
		for lines.Scan() {
			if line := strings.TrimSpace(lines.Text()); line != "" {
				return line, nil
			}
		}
		return "", cmp.Or(lines.Err(), io.EOF)
	}
}

// Confirm asks a question that is answered by y or n; no answer is no.
func (a *Term) Confirm(ctx context.Context, question string) bool {
	fmt.Fprintf(a.Err, "%s [y/N] ", question)
	line, err := await(ctx, func() (string, error) { return bufio.NewReader(a.In).ReadString('\n') })
	answer := strings.ToLower(strings.TrimSpace(line))
	return err == nil && (answer == "y" || answer == "yes")
}

// await reads from a terminal, which cannot be told to stop: where the context ends
// the reading is left behind, and the program is about to end.
func await[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	got := make(chan result, 1)
	go func() {
		value, err := read()
		got <- result{value, err}
	}()
	select {
	case r := <-got:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// WritePrivate writes a file that only its owner may read, and never through
// somebody else's link: the new file takes the old one's place.
func WritePrivate(path, text string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".goldkeep-*") // mode 0600
	if err != nil {
		return fault.New(fault.Invalid, "write %s: %w", path, err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fault.New(fault.Invalid, "write %s: %w", path, errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
