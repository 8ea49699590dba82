// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/internal/dockerfile"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/manifest"
	"github.com/goldkeep/goldkeep/internal/report"
	"github.com/goldkeep/goldkeep/internal/term"
)

// lintFlags are the flags of check that are about Dockerfiles.
type lintFlags struct {
	file, context string
}

func (o *lintFlags) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.file, "dockerfile", "", "check this Dockerfile (- for standard input) instead of an image (docs/dockerfile.md)")
	f.StringVar(&o.context, "context", "", "with --dockerfile: the build context, to look for credentials in what is copied")
}

// lint checks a Dockerfile: the exit code is that of a refused image where a rule
// of high severity is broken.
func (a *app) lint(o checkFlags) error {
	options := dockerfile.Options{}
	if len(o.files) > 0 {
		docs, err := manifest.ReadPaths(a.In, o.files...)
		if err != nil {
			return err
		}
		if options.Golden, err = goldenImages(docs); err != nil {
			return err
		}
	}
	if o.lint.context != "" {
		if info, err := os.Stat(o.lint.context); err != nil || !info.IsDir() {
			return fault.New(fault.NotFound, "--context %s is no folder", o.lint.context)
		}
		options.Context = os.DirFS(o.lint.context)
	}
	name, in, end, err := a.openDockerfile(o.lint.file)
	if err != nil {
		return err
	}
	defer end()
	result, err := dockerfile.Check(in, options)
	if err != nil {
		return err
	}
	lint := report.Lint{File: name, Result: *result, Time: time.Now(), Version: a.version().Version}
	if err := report.WriteLint(a.Out, a.Output, lint, a.tableOptions(o)); err != nil {
		return err
	}
	if result.Failed() {
		return term.Answered(term.ExitRefused)
	}
	return nil
}

func (a *app) openDockerfile(path string) (name string, in io.Reader, end func(), err error) {
	if path == "-" {
		return "Dockerfile", a.In, func() {}, nil
	}
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return "", nil, nil, fault.New(fault.NotFound, "open Dockerfile: %w", err)
	}
	return path, f, func() { _ = f.Close() }, nil
}

// goldenImages reads the GoldenImage documents. Without any, nothing is asked of
// the base.
func goldenImages(docs []manifest.Document) ([]dockerfile.Golden, error) {
	var golden []dockerfile.Golden
	for _, d := range docs {
		if d.Kind != "GoldenImage" {
			continue
		}
		var spec struct {
			Channels map[string]string `yaml:"channels"`
			Rest     map[string]any    `yaml:",inline"`
		}
		if err := d.Decode(&spec); err != nil {
			return nil, err
		}
		g := dockerfile.Golden{Name: d.Meta.Name}
		for _, digest := range spec.Channels {
			g.Digests = append(g.Digests, digest)
		}
		golden = append(golden, g)
	}
	return golden, nil
}
