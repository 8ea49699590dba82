// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package dockerfile judges a Dockerfile before anything is built: what it is
// built on, whether it carries credentials, as whom it runs, and whether the same
// file gives the same image tomorrow. It reads with BuildKit's own parser, so that
// heredocs, ONBUILD and line continuations mean what they mean to the builder.
//
// docs/dockerfile.md lists every rule; a test holds the list complete.
package dockerfile

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// Limits of a Dockerfile: the longest anybody showed us has 2,000 lines.
const (
	MaxBytes    = 512 << 10
	MaxLines    = 10_000
	maxFindings = 1000
)

// Severity says how much a finding matters. One that is High fails a check.
type Severity string

// The severities.
const (
	High   Severity = "high"
	Medium Severity = "medium"
	Low    Severity = "low"
)

// Finding is one place of a Dockerfile that breaks a rule.
type Finding struct {
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	Line     int      `json:"line"`              // first line of the instruction, from 1
	Stage    string   `json:"stage,omitempty"`   // name or number of the build stage
	What     string   `json:"what"`              // what is wrong, in one line; never a credential
	Why      string   `json:"why"`               // why that matters
	Instead  string   `json:"instead"`           // what to write
	Ignored  string   `json:"ignored,omitempty"` // the reason somebody gave in the file: it does not count
}

// Base is what a build stage is built on.
type Base struct {
	Stage string `json:"stage"`          // name or number
	Image string `json:"image"`          // with its arguments filled in; "scratch"
	From  string `json:"from,omitempty"` // the earlier stage it goes on from, instead
	Line  int    `json:"line"`
	Last  bool   `json:"last"` // what becomes the image is built on it
}

// Result is what there is to say of a Dockerfile.
type Result struct {
	Bases    []Base    `json:"bases"`
	Findings []Finding `json:"findings"` // by line
}

// Failed reports whether a finding of High severity counts.
func (r Result) Failed() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity == High && f.Ignored == "" })
}

// Golden is a golden image that a Dockerfile may be built on.
type Golden struct {
	Name    string
	Digests []string // of its channels
}

// Options say what else is known. The zero value is fine.
type Options struct {
	Golden  []Golden          // nil: nothing is asked of the base
	Context fs.FS             // the build context; nil: not looked at
	Args    map[string]string // build arguments, as --build-arg
}

// Check judges a Dockerfile. A text that is none is an error of the kind Invalid
// with the line, one over the limits of the kind TooLarge.
func Check(r io.Reader, o Options) (*Result, error) {
	data, err := read(r)
	if err != nil {
		return nil, err
	}
	parsed, err := parser.Parse(bytes.NewReader(data))
	if err != nil {
		return nil, notUnderstood(err)
	}
	c := newChecker(o, parsed.EscapeToken)
	c.skips = skipped(data)
	for _, node := range parsed.AST.Children {
		c.instruction(node)
	}
	c.end()
	slices.SortStableFunc(c.result.Findings, func(a, b Finding) int {
		return cmp.Or(a.Line-b.Line, cmp.Compare(rank(a.Severity), rank(b.Severity)), cmp.Compare(a.Rule, b.Rule))
	})
	c.result.Findings = slices.Compact(c.result.Findings)
	return &c.result, nil
}

func rank(s Severity) int { return slices.Index([]Severity{High, Medium, Low}, s) }

func read(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxBytes+1))
	if err != nil {
		return nil, fault.New(fault.Invalid, "read Dockerfile: %w", err)
	}
	if len(data) > MaxBytes || bytes.Count(data, []byte{'\n'}) > MaxLines {
		return nil, fault.New(fault.TooLarge, "read Dockerfile: it has more than %d bytes or %d lines", MaxBytes, MaxLines)
	}
	for line := range bytes.SplitSeq(data, []byte{'\n'}) {
		if len(line) >= bufio.MaxScanTokenSize { // BuildKit's own limit
			return nil, fault.New(fault.TooLarge, "read Dockerfile: a line has more than %d bytes", bufio.MaxScanTokenSize-1)
		}
	}
	return data, nil
}

func notUnderstood(err error) error {
	line := 0
	var at *parser.LocationError
	if errors.As(err, &at) && len(at.Locations) > 0 && len(at.Locations[0]) > 0 {
		line = at.Locations[0][0].Start.Line
	}
	return fault.New(fault.Invalid, "read Dockerfile: line %d: %w", line, err)
}

// checker walks over the instructions in order.
type checker struct {
	options Options
	words   expander
	lint    *linter.Linter
	skips   map[string]bool
	result  Result
	stages  []*stage

	node    *parser.Node // the instruction looked at
	ignores map[string]string
}

func newChecker(o Options, escape rune) *checker {
	c := &checker{options: o, words: newExpander(escape, o.Args), result: Result{Bases: []Base{}, Findings: []Finding{}}}
	c.lint = linter.New(&linter.Config{Warn: func(rule, description, _, detail string, _ []parser.Range) {
		c.find(ruleOf(buildkit), fmt.Sprintf("%s: %s", rule, cmp.Or(detail, description)))
	}})
	return c
}

// instruction looks at one instruction, and at what ONBUILD holds.
func (c *checker) instruction(node *parser.Node) {
	c.node = node
	c.ignores = c.ignored(node.PrevComment)
	if c.skips["buildkit"] {
		c.lint = nil
	}
	parsed, err := instructions.ParseInstructionWithLinter(node, c.lint)
	if err != nil {
		c.find(ruleOf(syntax), err.Error())
		return
	}
	switch cmd := parsed.(type) {
	case *instructions.Stage:
		c.from(cmd)
	case *instructions.ArgCommand:
		c.arg(cmd)
	case *instructions.OnbuildCommand:
		c.onbuild(cmd)
	case instructions.Command:
		c.command(cmd)
	}
}

func (c *checker) command(cmd instructions.Command) {
	s := c.stage()
	if s == nil {
		return
	}
	switch cmd := cmd.(type) {
	case *instructions.EnvCommand:
		c.env(cmd)
	case *instructions.LabelCommand:
		c.label(s, cmd)
	case *instructions.MaintainerCommand:
		s.owned = true
	case *instructions.UserCommand:
		s.user, s.userLine, s.userIgnores = c.words.expand(cmd.User), c.node.StartLine, c.ignores
	case *instructions.CopyCommand:
		c.copied(cmd.SourcesAndDest, cmd.From)
	case *instructions.AddCommand:
		c.added(cmd)
	case *instructions.RunCommand:
		c.run(s, cmd)
	case *instructions.ExposeCommand:
		c.expose(cmd)
	case *instructions.CmdCommand:
		c.leaked(c.node.Original)
	case *instructions.EntrypointCommand:
		c.leaked(c.node.Original)
	}
}

// onbuild looks at the instruction that a later build will carry out.
func (c *checker) onbuild(cmd *instructions.OnbuildCommand) {
	inner, err := parser.Parse(bytes.NewReader([]byte(cmd.Expression)))
	if err != nil || len(inner.AST.Children) != 1 || c.stage() == nil {
		return // BuildKit says the same when it is built on
	}
	outer := c.node
	node := inner.AST.Children[0]
	node.StartLine, node.EndLine, node.Heredocs = outer.StartLine, outer.EndLine, outer.Heredocs
	parsed, err := instructions.ParseInstruction(node)
	if err != nil {
		c.find(ruleOf(syntax), err.Error())
		return
	}
	c.node = node
	switch inner := parsed.(type) {
	case *instructions.ArgCommand:
		c.arg(inner)
	case *instructions.OnbuildCommand: // not allowed, and said by ParseInstruction
	case instructions.Command:
		c.command(inner)
	}
	c.node = outer
}

// find notes a finding at the instruction looked at.
func (c *checker) find(r Rule, what string) { c.findAt(r, what, c.node.StartLine, c.ignores) }

func (c *checker) findAt(r Rule, what string, line int, ignores map[string]string) {
	if len(c.result.Findings) >= maxFindings || c.skips[r.ID] {
		return
	}
	f := Finding{Rule: r.ID, Severity: r.Severity, Line: line, What: oneLine(what), Why: r.Why, Instead: r.Instead, Ignored: ignores[r.ID]}
	if s := c.stage(); s != nil {
		f.Stage = s.name
	}
	c.result.Findings = append(c.result.Findings, f)
}
