// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/agent"
	"github.com/goldkeep/goldkeep/internal/attest"
	"github.com/goldkeep/goldkeep/internal/attest/podman"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// ended is the exit code of the program "goldkeep run" ran: nothing is to be
// said about it.
type ended int

// Error implements error.
func (e ended) Error() string { return fmt.Sprintf("the program ended with %d", int(e)) }

// ExitCode is what goldkeep itself should exit with.
func (e ended) ExitCode() int { return int(e) }

// flags are the settings of "goldkeep agent".
type flags struct {
	socket, files, node, tokenFile string
	podman                         string
	insecureDisk, noProcesses      bool
}

// defaultRuntime is where the socket and the files are.
func defaultRuntime() string {
	if os.Geteuid() == 0 {
		return "/run/goldkeep"
	}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "goldkeep")
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("goldkeep-%d", os.Getuid()))
}

// defaultSocket is where workloads find the agent.
func defaultSocket() string {
	if s := os.Getenv("GOLDKEEP_AGENT_SOCKET"); s != "" {
		return s
	}
	return filepath.Join(defaultRuntime(), "agent.sock")
}

// podmanSocket is where podman's service usually is.
const podmanSocket = "/run/podman/podman.sock"

// agentCommand is "goldkeep agent".
func agentCommand() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run the agent of this machine",
		Long: `Run the agent of this machine. Workloads come to its unix socket; it finds out from
the kernel and the container runtime what they are, asks the server, and gives
those that are admitted an identity and their secrets as files in memory.

It needs the token of this node: goldkeep node enrol NAME --out FILE`,
		Example: `  # plain processes and, where podman's service runs, its containers
  goldkeep agent --node web1 --node-token-file /etc/goldkeep/node-token

  # containers only
  goldkeep agent --node web1 --node-token-file /etc/goldkeep/node-token --no-processes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runAgent(cmd, f) },
	}
	host, _ := os.Hostname() // an empty name is refused with a clear error
	fl := cmd.Flags()
	fl.StringVar(&f.node, "node", strings.ToLower(host), "name of this machine, as enrolled")
	fl.StringVar(&f.tokenFile, "node-token-file", "", "file with the node's token (environment: GOLDKEEP_TOKEN)")
	fl.StringVar(&f.socket, "socket", defaultSocket(), "unix socket workloads come to")
	fl.StringVar(&f.files, "files", filepath.Join(defaultRuntime(), "files"), "folder, in memory, for the secrets of plain processes")
	fl.StringVar(&f.podman, "podman-socket", "", `podman's service (default `+podmanSocket+` where it is there; "none" for no podman)`)
	fl.BoolVar(&f.insecureDisk, "insecure-disk", false, "let --files be on a disk, where secrets may outlive a power cut")
	fl.BoolVar(&f.noProcesses, "no-processes", false, "refuse plain processes")
	return cmd
}

func runAgent(cmd *cobra.Command, f flags) error {
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
	server, err := f.client(cmd)
	if err != nil {
		return err
	}
	a, err := agent.New(agent.Options{
		Socket: f.socket, Files: f.files, InsecureDisk: f.insecureDisk, Node: f.node, Server: agent.NewRemote(server, f.node),
		Runtimes: f.runtimes(log), NoProcesses: f.noProcesses, Log: log,
	})
	if err != nil {
		return err
	}
	go keepToken(cmd.Context(), server, log)
	return a.Run(cmd.Context())
}

// client speaks to the server as this node.
func (f flags) client(cmd *cobra.Command) (*client.Client, error) {
	c := client.Config{Addr: flagOr(cmd, "addr", "ADDR"), CACert: flagOr(cmd, "ca-cert", "CACERT"), Token: flagOr(cmd, "", "TOKEN")}
	if f.tokenFile != "" {
		text, err := os.ReadFile(f.tokenFile)
		if err != nil {
			return nil, fault.New(fault.Invalid, "read node token: %w", err)
		}
		c.Token = strings.TrimSpace(string(text))
	}
	if c.Token == "" {
		return nil, fault.New(fault.Invalid, "the agent has no token").
			WithHint("make one on the server with: goldkeep node enrol %s --out node-token; then name it with --node-token-file", f.node)
	}
	return client.New(c)
}

// flagOr is a global flag, or else the environment.
func flagOr(cmd *cobra.Command, flag, env string) string {
	if v, err := cmd.Flags().GetString(flag); flag != "" && err == nil && v != "" {
		return v
	}
	if v := os.Getenv("GOLDKEEP_" + env); v != "" {
		return v
	}
	return os.Getenv("VAULT_" + env)
}

func (f flags) runtimes(log *slog.Logger) []attest.Runtime {
	socket := f.podman
	if socket == "" {
		if _, err := os.Stat(podmanSocket); err != nil {
			log.Info("no podman service here: containers are not served", "looked for", podmanSocket)
			return nil
		}
		socket = podmanSocket
	}
	if socket == "none" {
		return nil
	}
	return []attest.Runtime{podman.New(socket)}
}

// keepToken renews the node's token, which lives a month without it.
func keepToken(ctx context.Context, c *client.Client, log *slog.Logger) {
	tick := time.NewTicker(6 * time.Hour)
	defer tick.Stop()
	for {
		if err := c.Do(ctx, "PUT", "/v1/auth/token/renew-self", nil, nil); err != nil && ctx.Err() == nil {
			log.Warn("renew the node's token", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// runCommand is "goldkeep run".
func runCommand() *cobra.Command {
	o := agent.LaunchOptions{}
	cmd := &cobra.Command{
		Use:   "run -- PROGRAM [ARGUMENT]...",
		Short: "Run a program with its secrets as environment variables",
		Long: `Run a program with its secrets as environment variables. The agent attests the
program, which is run from a sealed copy in memory. When a secret changes the
program gets a signal; when its identity is taken back it is ended.`,
		Example: `  goldkeep run -- ./orders --port 8080
  goldkeep run --wait 30s --on-revoke signal -- ./orders`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Args, o.Env = args, os.Environ()
			o.Stdin, o.Stdout, o.Stderr = io.Reader(os.Stdin), os.Stdout, os.Stderr
			exit, err := agent.Launch(cmd.Context(), o)
			if err == nil && exit != 0 {
				err = ended(exit)
			}
			return err
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&o.Socket, "socket", defaultSocket(), "the agent's unix socket")
	fl.StringVar(&o.Signal, "signal", "", `signal when a secret changes (default: what the workload says, else SIGHUP; "none")`)
	fl.StringVar(&o.OnRevoke, "on-revoke", agent.OnRevokeStop, "what happens when the identity is taken back: "+agent.OnRevokeStop+" or "+agent.OnRevokeSignal)
	fl.DurationVar(&o.Grace, "grace", 10*time.Second, "time from SIGTERM to SIGKILL")
	fl.DurationVar(&o.Wait, "wait", 0, "how long to wait for the agent and for admission, at most 1m")
	return cmd
}
