// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// What happens to the child when its identity is taken back.
const (
	OnRevokeStop   = "stop"   // SIGTERM, then SIGKILL
	OnRevokeSignal = "signal" // the same signal as for a change
)

// LaunchOptions say what `goldkeep run` runs.
type LaunchOptions struct {
	Socket   string        // the agent's
	Args     []string      // program and arguments
	Env      []string      // the child's environment, to which secrets are added
	OnRevoke string        // OnRevokeStop (default) or OnRevokeSignal
	Signal   string        // on change: "SIGHUP"; "": what the workload's definition says, else SIGHUP; "none"
	Grace    time.Duration // from SIGTERM to SIGKILL; default 10 s
	Wait     time.Duration // how long to wait for the agent and for admission; default 0, at most 1 min
	Stdin    io.Reader
	Stdout   io.Writer
	Stderr   io.Writer // of the child; notices of goldkeep go there too
}

// Launch runs a program with its secrets as environment variables until it ends,
// and returns its exit code (128 + number for a signal). The agent attests the
// program, not goldkeep: it is copied into sealed memory first and run from there.
// A refusal is an error of kind fault.Refused whose text says why and what to do.
func Launch(ctx context.Context, o LaunchOptions) (exit int, err error) {
	if len(o.Args) == 0 {
		return 0, fault.New(fault.Invalid, "no program given").WithHint("goldkeep run -- PROGRAM [ARGUMENT]...")
	}
	o.Grace = orDefault(o.Grace, 10*time.Second)
	// Before anything else: no process of the same user may read our memory.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return 0, fault.New(fault.Internal, "close this process to others: %w", err)
	}
	program, err := sealProgram(o.Args[0])
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, program.Close()) }()
	door := newDoor(o.Socket)
	id, err := door.launch(ctx, program, o.Wait)
	if err != nil {
		return 0, err
	}
	var secrets secretsAnswer
	if err := door.get(ctx, "/v1/secrets", &secrets); err != nil {
		return 0, err
	}
	change, err := signalFor(o.Signal, id.Signal)
	if err != nil {
		return 0, err
	}
	c := &child{o: o, door: door, change: change, program: program, cmd: command(o, program, id, secrets.Secrets)}
	return c.run(ctx, secrets.Revision)
}

// sealProgram copies a program into memory that nobody can change any more.
func sealProgram(name string) (*os.File, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return nil, fault.New(fault.NotFound, "find program: %w", err)
	}
	source, err := os.Open(path)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read program: %w", err)
	}
	defer func() { _ = source.Close() }() // only read
	base := path[strings.LastIndexByte(path, '/')+1:]
	fd, err := unix.MemfdCreate(base[:min(len(base), 200)], unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fault.New(fault.Internal, "make memory file: %w", err)
	}
	memory := os.NewFile(uintptr(fd), base)
	_, err = io.Copy(memory, source)
	if err == nil {
		err = unix.Fchmod(fd, 0o500)
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	}
	if err != nil {
		return nil, errors.Join(fault.New(fault.Internal, "copy program into memory: %w", err), memory.Close())
	}
	return memory, nil
}

// command prepares the child: exactly the sealed program, whatever now lies at
// its path.
func command(o LaunchOptions, program *os.File, id identity, secrets []Value) *exec.Cmd {
	cmd := &exec.Cmd{
		Path: "/proc/self/fd/3", Args: o.Args, Env: environment(o.Env, id, secrets),
		Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr, ExtraFiles: []*os.File{program},
		// Should this process be killed, nobody could take the secrets back.
		SysProcAttr: &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL},
	}
	return cmd
}

// environment adds secrets, which win over what was there, and where the files
// and the agent are.
func environment(env []string, id identity, secrets []Value) []string {
	out := append([]string{}, env...)
	for _, s := range secrets {
		if s.Env != "" {
			out = append(out, s.Env+"="+s.Value)
		}
		for name, value := range s.Values {
			if s.File == "" {
				out = append(out, name+"="+value)
			}
		}
	}
	out = append(out, "GOLDKEEP_WORKLOAD="+id.Workload, "GOLDKEEP_ENVIRONMENT="+id.Environment)
	if id.Directory != "" {
		out = append(out, "GOLDKEEP_SECRETS_DIR="+id.Directory)
	}
	return out
}

// child is the running program and what has to happen to it.
type child struct {
	o       LaunchOptions
	door    *doorClient
	change  syscall.Signal // 0: none
	program *os.File
	cmd     *exec.Cmd
}

// run starts the child and looks after it until it ends.
func (c *child) run(ctx context.Context, revision int64) (int, error) {
	// The kernel sends Pdeathsig when the thread that started the child ends, so
	// that thread must stay ours until then.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, c.forwarded()...)
	defer signal.Stop(signals)
	if err := c.cmd.Start(); err != nil {
		return 0, fault.New(fault.Invalid, "start program: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { c.watch(ctx, revision) })
	wg.Go(func() {
		for {
			select {
			case s := <-signals:
				c.signal(s)
			case <-ctx.Done():
				return
			}
		}
	})
	err := c.cmd.Wait()
	cancel()
	wg.Wait()
	return exitCode(c.cmd.ProcessState, err)
}

// forwarded lists the signals passed on. A terminal sends the ones of its keys to
// the child itself.
func (c *child) forwarded() []os.Signal {
	list := []os.Signal{syscall.SIGHUP, syscall.SIGTERM, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGCONT, syscall.SIGWINCH}
	return append(list, syscall.SIGINT, syscall.SIGQUIT)
}

func onTerminal(r io.Reader) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// signal passes a signal on. One that cannot be sent finds no child any more.
func (c *child) signal(s os.Signal) {
	if (s == syscall.SIGINT || s == syscall.SIGQUIT) && onTerminal(c.o.Stdin) {
		return
	}
	_ = c.cmd.Process.Signal(s)
}

// watch acts on what the agent tells until ctx ends. An agent that is gone cannot
// tell: the child is then stopped once the identity would have ended.
func (c *child) watch(ctx context.Context, revision int64) {
	pause := firstRetry
	var lost time.Time
	for ctx.Err() == nil {
		var now watchAnswer
		err := c.ask(ctx, revision, &now)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && fault.Is(err, fault.Refused):
			c.revoked(ctx, err.Error())
			return
		case err != nil:
			if lost.IsZero() {
				lost = time.Now()
				c.say("the agent does not answer: %v", err)
			}
			if time.Since(lost) > maxSilence {
				c.revoked(ctx, "the agent has not answered for "+maxSilence.String())
				return
			}
			wait(ctx, pause)
			pause = min(2*pause, slowRetry)
		case now.State == stateActive || now.State == stateWarned:
			lost, pause = time.Time{}, firstRetry
			c.changed(now, revision)
			revision = now.Revision
		default:
			c.revoked(ctx, now.Reason)
			return
		}
	}
}

// ask waits for news. An agent that was started anew does not know this program:
// it is shown again.
func (c *child) ask(ctx context.Context, revision int64, now *watchAnswer) error {
	err := c.door.get(ctx, fmt.Sprintf("/v1/watch?revision=%d&timeout=30s", revision), now)
	if err == nil && now.State == stateGone {
		return fault.New(fault.Unavailable, "%s", now.Reason)
	}
	if !fault.Is(err, fault.Refused) {
		return err
	}
	id, err := c.door.launch(ctx, c.program, 0)
	*now = watchAnswer{Revision: id.Revision, State: id.State, Reason: id.Reason, Until: id.Until}
	return err
}

// maxSilence is how long a child may run without an agent: about the life of an
// identity.
const maxSilence = 5 * time.Minute

func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (c *child) changed(now watchAnswer, revision int64) {
	if now.Revision == revision {
		return
	}
	if now.State == stateWarned {
		c.say("warning: the identity will be taken back at %s: %s", now.Until.Format(time.RFC3339), now.Reason)
		return
	}
	if c.change != 0 {
		_ = c.cmd.Process.Signal(c.change) // it has ended: nothing to tell
	}
}

func (c *child) revoked(ctx context.Context, reason string) {
	c.say("the identity was taken back: %s", reason)
	if c.o.OnRevoke == OnRevokeSignal {
		if c.change != 0 {
			_ = c.cmd.Process.Signal(c.change) // it has ended: nothing to tell
		}
		return
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it has ended: fine
	wait(ctx, c.o.Grace)                      // ctx ends with the child
	if ctx.Err() == nil {
		_ = c.cmd.Process.Kill() // it has ended: fine
	}
}

func (c *child) say(format string, args ...any) {
	if c.o.Stderr != nil {
		_, _ = fmt.Fprintf(c.o.Stderr, "goldkeep: "+format+"\n", args...) // nobody reads it: fine
	}
}

// exitCode is the child's own, or 128 and the number of the signal that ended it.
func exitCode(state *os.ProcessState, err error) (int, error) {
	if state == nil {
		return 0, fault.New(fault.Internal, "wait for program: %w", err)
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return state.ExitCode(), nil
}

// signalFor reads "SIGHUP" or "HUP"; own wins over the workload's.
func signalFor(own, workload string) (syscall.Signal, error) {
	name := strings.ToUpper(own)
	if name == "" {
		name = strings.ToUpper(workload)
	}
	switch name {
	case "":
		return syscall.SIGHUP, nil
	case "NONE":
		return 0, nil
	}
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if s := unix.SignalNum(name); s != 0 {
		return s, nil
	}
	return 0, fault.New(fault.Invalid, "there is no signal %q", name)
}

// launch shows the program to the agent and returns the identity it got.
func (d *doorClient) launch(ctx context.Context, program *os.File, patience time.Duration) (identity, error) {
	body, err := json.Marshal(launchRequest{FD: int(program.Fd())})
	if err != nil {
		return identity{}, fault.New(fault.Internal, "ask the agent: %w", err)
	}
	deadline := time.Now().Add(min(patience, maxWait))
	for {
		var id identity
		err := d.call(ctx, "POST", "/v1/launch", string(body), &id)
		if err == nil || !worthWaiting(err) || time.Now().Add(askPace).After(deadline) {
			return id, err
		}
		wait(ctx, askPace)
	}
}
