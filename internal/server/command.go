// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// settings are the command's flags.
type settings struct {
	config, data, listen, keyFile string
	noTLS                         bool
	dev                           bool
	devToken, devListen           string
}

// Command is "goldkeep server".
func Command() *cobra.Command {
	var f settings
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run the server",
		Long: `Run the server: the secrets API under /v1, Goldkeep's own under /api/v1.

It starts sealed. Initialize a new one with "goldkeep operator init" and unseal it
with "goldkeep operator unseal", or give it a key file. TLS is on: the server makes
its own CA (tls/ca.pem in the data folder), which clients must trust.

With --dev it runs in memory, unsealed, over plain HTTP on the loopback, with a KV
engine at secret/, and prints its root token: to try things out, never for real.

Settings, files, backup, metrics: docs/server.md.`,
		Example: `  # try it out, as with the dev servers of Vault and OpenBao
  goldkeep server --dev --dev-root-token-id=root

  # one machine, unsealing itself with a key file (made at the first start)
  goldkeep server --data /var/lib/goldkeep --key-file /etc/goldkeep/key

  # key shares, PostgreSQL, settings in a file
  GOLDKEEP_DATABASE_URL=postgres://goldkeep@db/goldkeep goldkeep server --config server.yaml

  # the configuration file of Vault or OpenBao
  goldkeep server -config=openbao.hcl`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.dev {
				return runDev(cmd.Context(), f, cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			return run(cmd.Context(), f, cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", "", "configuration file: YAML, or the HCL or JSON of Vault and OpenBao (docs/server.md)")
	flags.StringVar(&f.data, "data", "", "folder of the database, audit log and TLS files (default "+defaultData()+")")
	flags.StringVar(&f.listen, "listen", "", "address to serve on (default 127.0.0.1:8200)")
	flags.StringVar(&f.keyFile, "key-file", "", "file that unseals the server; made at the first start where it is missing")
	flags.BoolVar(&f.noTLS, "insecure-no-tls", false, "serve plain HTTP: everybody on the way can read every secret")
	flags.BoolVar(&f.dev, "dev", false, "dev mode: in memory, unsealed, plain HTTP on the loopback")
	flags.StringVar(&f.devToken, "dev-root-token-id", "", "root token of dev mode (default random; or VAULT_DEV_ROOT_TOKEN_ID)")
	flags.StringVar(&f.devListen, "dev-listen-address", "", "address of dev mode (default 127.0.0.1:8200; or VAULT_DEV_LISTEN_ADDRESS)")
	cmd.AddCommand(checkCommand(&f), anchorCommand(&f))
	return cmd
}

func checkCommand(f *settings) *cobra.Command {
	cmd := &cobra.Command{
		Use: "check", Short: "Check a configuration file", Args: cobra.NoArgs,
		Example: "  goldkeep server check --config server.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.config == "" {
				return fault.New(fault.Invalid, "no configuration file is named").WithHint("goldkeep server check --config server.yaml")
			}
			if _, err := ReadConfig(f.config); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is fine\n", f.config)
			return err
		},
	}
	cmd.Flags().StringVar(&f.config, "config", "", "configuration file")
	return cmd
}

// configuration joins file and flags; flags win.
func (f settings) configuration() (Config, error) {
	var c Config
	var err error
	if f.config != "" {
		if c, err = ReadConfig(f.config); err != nil {
			return c, err
		}
	}
	for flag, field := range map[string]*string{f.data: &c.Data, f.listen: &c.Listen, f.keyFile: &c.KeyFile} {
		if flag != "" {
			*field = flag
		}
	}
	c.TLS.Off = c.TLS.Off || f.noTLS
	return c, c.check()
}

func run(ctx context.Context, f settings, stderr io.Writer) (err error) {
	if f.devToken != "" || f.devListen != "" {
		return fault.New(fault.Invalid, "--dev-root-token-id and --dev-listen-address go with --dev")
	}
	c, err := f.configuration()
	if err != nil {
		return err
	}
	c.File, c.Level = f.config, &slog.LevelVar{}
	log, err := c.Log.open(stderr, c.Level)
	if err != nil {
		return err
	}
	if c.InMemory {
		var remove func() error
		if c.Data, remove, err = memoryFolder(devFolder(), "goldkeep-inmem-"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, remove()) }()
	}
	if c.PidFile != "" {
		if err := os.WriteFile(c.PidFile, fmt.Appendf(nil, "%d\n", os.Getpid()), 0o644); err != nil { //nolint:gosec // for everybody to read
			return fault.New(fault.Invalid, "write pidFile: %w", err)
		}
		defer func() { err = errors.Join(err, os.Remove(c.PidFile)) }()
	}
	for {
		err := runOnce(ctx, c, log)
		if !errors.Is(err, ErrRestored) {
			return err
		}
	}
}

// runOnce runs the server until it is told to stop, or to start anew.
func runOnce(ctx context.Context, c Config, log *slog.Logger) error {
	s, err := New(ctx, c, log)
	if err != nil {
		return err
	}
	if len(c.Ignored) > 0 {
		log.Info("settings that change nothing here", "settings", c.Ignored)
	}
	if s.config.TLS.Off {
		log.Warn("serving WITHOUT TLS: everybody on the way can read every secret")
	}
	log.Info("goldkeep is listening", "address", s.URL(), "ca", s.CAFile(), "data", s.config.Data, "store", s.storageName(), "version", Version)
	for _, why := range s.notReady(ctx) {
		log.Warn("not ready", "reason", why)
	}
	return s.Run(ctx)
}

// open makes the log. Its level stays changeable.
func (l Log) open(w io.Writer, level *slog.LevelVar) (*slog.Logger, error) {
	if err := l.set(level); err != nil {
		return nil, err
	}
	switch l.Format {
	case "", "text":
		return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})), nil
	}
	return nil, fault.New(fault.Invalid, "log.format must be text or json")
}

func (l Log) set(level *slog.LevelVar) error {
	to := slog.LevelInfo
	if l.Level != "" {
		if err := to.UnmarshalText([]byte(l.Level)); err != nil {
			return fault.New(fault.Invalid, "log.level must be debug, info, warn or error")
		}
	}
	level.Set(to)
	return nil
}

// runDev is dev mode.
func runDev(ctx context.Context, f settings, stdout, stderr io.Writer) (err error) {
	if f.config != "" || f.data != "" || f.listen != "" || f.keyFile != "" {
		return fault.New(fault.Invalid, "dev mode keeps nothing: --config, --data, --listen and --key-file do not go with it").
			WithHint("its address is set with --dev-listen-address")
	}
	dir, remove, err := memoryFolder(devFolder(), "goldkeep-dev-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	c := Config{Data: dir, Listen: cmp.Or(f.devListen, os.Getenv("VAULT_DEV_LISTEN_ADDRESS"), "127.0.0.1:8200"), TLS: TLS{Off: true}, Audit: Audit{MinFree: 1 << 20}}
	log, err := c.Log.open(stderr, &slog.LevelVar{})
	if err != nil {
		return err
	}
	s, err := newDev(ctx, c, log)
	if err != nil {
		return err
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	root, err := s.initialize(ctx, key, cmp.Or(f.devToken, os.Getenv("VAULT_DEV_ROOT_TOKEN_ID")))
	if err != nil {
		return errors.Join(err, s.Close())
	}
	if ip := s.listener.Addr().(*net.TCPAddr).IP; !ip.IsLoopback() {
		log.Warn("the dev server can be reached from other machines, over plain HTTP", "address", s.Addr())
	}
	if _, err := fmt.Fprintf(stdout, devText, s.URL(), root, s.URL(), root); err != nil {
		return errors.Join(err, s.Close())
	}
	return s.Run(ctx)
}

// newDev makes a server that never uses a database from the environment.
func newDev(ctx context.Context, c Config, log *slog.Logger) (*Server, error) {
	if os.Getenv("GOLDKEEP_DATABASE_URL") != "" {
		return nil, fault.New(fault.Invalid, "dev mode keeps nothing, but GOLDKEEP_DATABASE_URL is set").
			WithHint("unset it, or run without --dev")
	}
	return New(ctx, c, log)
}

// devFolder is in memory where the machine has such a place.
func devFolder() string {
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		return "/dev/shm"
	}
	return ""
}

var devText = strings.TrimLeft(`
==> Goldkeep dev server: in memory, unsealed, plain HTTP. Never use it for real.

    Address:    %s
    Root Token: %s

    In another terminal:

    export GOLDKEEP_ADDR=%s GOLDKEEP_TOKEN=%s
    goldkeep status
    echo -n world | goldkeep kv put secret/hello greeting=-

    The variables VAULT_ADDR and VAULT_TOKEN work too, with vault and bao as well.

`, "\n")
