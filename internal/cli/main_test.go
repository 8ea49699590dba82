// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/goldkeep/goldkeep/internal/audit"
	"github.com/goldkeep/goldkeep/internal/cli"
	"github.com/goldkeep/goldkeep/internal/term"
)

var update = flag.Bool("update", false, "write the expected output of the scripts anew")

// TestMain lets the scripts in testdata run these programs.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"goldkeep":  goldkeep,
		"mkimage":   program(mkimage),
		"mkfeed":    program(mkfeed),
		"mkaudit":   program(mkaudit),
		"normalize": program(normalize),
		"drop":      program(drop),
	})
}

// TestScripts runs testdata/*.txtar: each is a story told in commands.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: *update,
		Cmds:          map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			return os.Mkdir(filepath.Join(env.WorkDir, "home"), 0o755)
		},
	})
}

// exits N COMMAND ARG... runs a command and looks at its exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARG...]")
	}
	code := 0
	var failed *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &failed) {
		code = failed.ExitCode()
	} else if err != nil {
		ts.Fatalf("run %s: %v", args[1], err)
	}
	if fmt.Sprint(code) != args[0] {
		ts.Fatalf("%v: exit code %d, not %s", args[1:], code, args[0])
	}
}

func goldkeep() {
	os.Exit(cli.Main(context.Background(), os.Args[1:], term.IO{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv}, cli.Doors{}))
}

func program(run func(args []string) error) func() {
	return func() {
		if err := run(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

// mkfeed FOLDER... packs the *.json of each folder into FOLDER/all.zip, as OSV's
// public bucket has them.
func mkfeed(dirs []string) error {
	for _, dir := range dirs {
		names, err := filepath.Glob(filepath.Join(dir, "*.json"))
		if err != nil || len(names) == 0 {
			return fmt.Errorf("no records in %s: %v", dir, err)
		}
		var packed bytes.Buffer
		w := zip.NewWriter(&packed)
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			f, err := w.Create(filepath.Base(name))
			if err != nil {
				return err
			}
			if _, err := f.Write(text); err != nil {
				return err
			}
		}
		if err := w.Close(); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "all.zip"), packed.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// mkaudit FILE writes an audit log of three records, and anchor.json.
func mkaudit(args []string) error {
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	log, err := audit.Open(audit.Options{Path: args[0], Node: "test", Now: func() time.Time { return at }})
	if err != nil {
		return err
	}
	for i := range 3 {
		rec := audit.Record{Kind: "request", ID: fmt.Sprint(i), Op: "read", Mount: "secret/", Actor: "a1", Sync: true}
		if err := log.Append(context.Background(), rec); err != nil {
			return err
		}
	}
	anchor, err := json.Marshal(log.Head())
	if err != nil {
		return err
	}
	if err := os.WriteFile("anchor.json", anchor, 0o644); err != nil {
		return err
	}
	return log.Close()
}

// drop FILE N takes out the line N.
func drop(args []string) error {
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	return os.WriteFile(args[0], bytes.Join(slices.Delete(lines, n-1, n), nil), 0o644)
}

// normalize FILE puts fixed values where a JSON report has the version of the test
// and the time of the sync.
func normalize(args []string) error {
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	var report map[string]any
	if err := json.Unmarshal(text, &report); err != nil {
		return err
	}
	report["version"], report["snapshotAt"] = "1.2.3", "2026-11-01T00:00:00Z"
	if v, ok := report["verdict"].(map[string]any); ok {
		v["hashes"].(map[string]any)["evidence"] = "sha256:of-the-evidence"
	}
	out, err := json.MarshalIndent(report, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(args[0], append(out, '\n'), 0o644)
}
