// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/ext"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/finding"
)

// The limits of one expression.
const (
	maxExpression = 4096      // characters
	maxNesting    = 50        // brackets inside each other
	maxCost       = 2_000_000 // CEL cost units of one evaluation: some tens of milliseconds
)

// recheck is how often a rule that asks for the time is asked again: nobody can
// say when its answer changes.
const recheck = time.Hour

// Expression is a rule in CEL (cel.dev): true passes. It sees the evidence
// under its JSON names: image, os, components, facts, findings (those that
// count), gaps, problems, channels, signatures, snapshotAt and now.
type Expression struct {
	Rule    string `yaml:"rule" json:"rule"`
	Message string `yaml:"message" json:"message"` // what people read when it fails

	program cel.Program
	uses    map[string]bool // the variables it asks for
}

// compiler holds the CEL environment, which is costly to make, for all
// expressions of one Environment.
type compiler struct {
	env *cel.Env
}

func (c *compiler) ready() (*cel.Env, error) {
	if c.env != nil {
		return c.env, nil
	}
	list := func(of string) *cel.Type { return cel.ListType(cel.ObjectType(of)) }
	env, err := cel.NewEnv(
		ext.NativeTypes(ext.ParseStructTag("json"),
			reflect.TypeFor[Image](), reflect.TypeFor[Base](), reflect.TypeFor[Channel](), reflect.TypeFor[Signature](),
			reflect.TypeFor[component.OS](), reflect.TypeFor[component.Component](), reflect.TypeFor[component.Fact](),
			reflect.TypeFor[component.Problem](), reflect.TypeFor[finding.Finding](), reflect.TypeFor[finding.Gap]()),
		cel.Variable("image", cel.ObjectType("verdict.Image")),
		cel.Variable("os", cel.ObjectType("component.OS")),
		cel.Variable("components", list("component.Component")),
		cel.Variable("facts", list("component.Fact")),
		cel.Variable("findings", list("finding.Finding")),
		cel.Variable("gaps", list("finding.Gap")),
		cel.Variable("problems", list("component.Problem")),
		cel.Variable("channels", list("verdict.Channel")),
		cel.Variable("signatures", list("verdict.Signature")),
		cel.Variable("snapshotAt", cel.TimestampType),
		cel.Variable("now", cel.TimestampType),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.ParserRecursionLimit(maxNesting),
	)
	if err != nil {
		return nil, fmt.Errorf("prepare expressions: %w", err)
	}
	c.env = env
	return env, nil
}

// compile checks the expression and makes it ready to run.
func (e *Expression) compile(c *compiler) error {
	if strings.TrimSpace(e.Rule) == "" {
		return fmt.Errorf("an expression needs a rule, for example \"image.labels['team'] != ''\"")
	}
	if len(e.Rule) > maxExpression {
		return fmt.Errorf("the expression has %d characters; at most %d are allowed", len(e.Rule), maxExpression)
	}
	env, err := c.ready()
	if err != nil {
		return err
	}
	ast, issues := env.Compile(e.Rule)
	if issues.Err() != nil {
		return fmt.Errorf("the expression is wrong: %s", firstIssue(issues))
	}
	if ast.OutputType() != cel.BoolType {
		return fmt.Errorf("the expression gives %s; a rule must give true or false", ast.OutputType())
	}
	program, err := env.Program(ast, cel.CostLimit(maxCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return fmt.Errorf("the expression is wrong: %s", OneLine(err.Error()))
	}
	e.uses = map[string]bool{}
	for _, ref := range ast.NativeRep().ReferenceMap() {
		e.uses[ref.Name] = true
	}
	e.program = program
	return nil
}

// firstIssue is the first compile error with its place in the expression.
func firstIssue(issues *cel.Issues) string {
	first := issues.Errors()[0]
	return fmt.Sprintf("line %d, column %d: %s", first.Location.Line(), first.Location.Column()+1, OneLine(first.Message))
}

func (e *Expression) judge(j *judge) {
	if e.program == nil { // an Environment made by hand
		ready := *e
		if err := ready.compile(&compiler{}); err != nil {
			j.unknown("expression", "policy error: "+err.Error(), j.env.Owner, "correct the expression")
			return
		}
		e = &ready
	}
	if missing := j.missing(e.uses); missing != "" {
		j.unknown("expression", e.Message+": not known, "+missing, "", "gather the missing evidence first")
		return
	}
	if e.uses["now"] {
		j.changes(j.now.Add(recheck))
	}
	result, _, err := e.program.Eval(j.variables())
	if err != nil {
		j.unknown("expression", "policy error in \""+e.Message+"\": "+err.Error(), j.env.Owner, "correct the expression so that it holds for every image (has(), size(), 'x' in map)")
		return
	}
	if pass, ok := result.Value().(bool); !ok || !pass {
		j.no("expression", e.Message, []string{"expression: " + e.Rule}, "make the image meet the rule: "+e.Rule)
	}
}

// missing says which evidence an expression asks for was never gathered.
func (j *judge) missing(uses map[string]bool) string {
	if j.ev.Image.Kind == Bill && (uses["image"] || uses["facts"]) {
		return "what a bill of materials does not tell: image and facts"
	}
	switch {
	case uses["findings"] && j.ev.Snapshot == "":
		return "there is no advisory database"
	case uses["snapshotAt"] && j.ev.SnapshotAt.IsZero():
		return "there is no advisory database"
	case uses["signatures"] && j.ev.Signatures == nil:
		return "signatures were not looked for"
	case uses["channels"] && j.ev.Channels == nil:
		return "channels were not looked up"
	}
	return ""
}

func (j *judge) variables() map[string]any {
	if j.vars == nil {
		j.vars = map[string]any{
			"image": j.ev.Image, "os": j.ev.OS, "components": j.ev.Components, "facts": j.ev.Facts, "findings": j.counted,
			"gaps": j.ev.Gaps, "problems": j.ev.Problems, "channels": j.ev.Channels, "signatures": j.ev.Signatures,
			"snapshotAt": j.ev.SnapshotAt, "now": j.now,
		}
	}
	return j.vars
}
