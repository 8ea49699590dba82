// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// stage is one build stage.
type stage struct {
	name      string // or its number
	base      string // image; "" where it goes on from a stage
	parent    *stage
	line      int
	ignores   map[string]string // of the FROM instruction
	user      string
	userLine  int
	owned     bool // a label says whose it is
	compilers []string

	userIgnores map[string]string
}

// stage is the one that instructions belong to now; nil before the first FROM.
func (c *checker) stage() *stage {
	if len(c.stages) == 0 {
		return nil
	}
	return c.stages[len(c.stages)-1]
}

// lineage is the last stage and those it goes on from: what becomes the image.
func (c *checker) lineage() []*stage {
	var out []*stage
	for s := c.stage(); s != nil; s = s.parent { // a parent comes before its child
		out = append(out, s)
	}
	return out
}

// from begins a stage.
func (c *checker) from(cmd *instructions.Stage) {
	s := &stage{name: cmd.Name, line: c.node.StartLine, ignores: c.ignores}
	if s.name == "" {
		s.name = strconv.Itoa(len(c.stages))
	}
	base, whole := c.words.expandFrom(cmd.BaseName)
	for _, earlier := range c.stages {
		if strings.EqualFold(earlier.name, base) && !isNumber(base) {
			s.parent = earlier
		}
	}
	c.stages = append(c.stages, s)
	c.words.enterStage()
	if s.parent != nil {
		s.owned = s.parent.owned
		c.result.Bases = append(c.result.Bases, Base{Stage: s.name, From: s.parent.name, Line: s.line})
		return
	}
	s.base = base
	c.result.Bases = append(c.result.Bases, Base{Stage: s.name, Image: oneLine(base), Line: s.line})
	switch {
	case !whole:
		c.find(ruleOf(fromVariable), "FROM "+cmd.BaseName+": its value is not known")
	case base != "scratch":
		c.pinned(base)
	}
}

func isNumber(s string) bool {
	_, err := strconv.Atoi(s)
	return err == nil
}

// pinned judges the name of a base image.
func (c *checker) pinned(base string) {
	name, digest, _ := strings.Cut(base, "@")
	_, tag, tagged := strings.Cut(path.Base(name), ":")
	switch {
	case strings.HasPrefix(digest, "sha256:") && len(digest) == len("sha256:")+64, strings.HasPrefix(digest, "sha512:"):
	case !tagged:
		c.find(ruleOf(fromLatest), "FROM "+base+" has no tag")
	case tag == "latest":
		c.find(ruleOf(fromLatest), "FROM "+base+" is whatever is newest")
	default:
		c.find(ruleOf(fromUnpinned), "FROM "+base+" has no digest")
	}
}

// golden judges the base of what becomes the image.
func (c *checker) golden(s *stage) {
	if c.options.Golden == nil || s.base == "scratch" || s.base == "" {
		return
	}
	name, digest, _ := strings.Cut(s.base, "@")
	name, _, _ = strings.Cut(path.Base(name), ":")
	what := "FROM " + s.base + " is none of the golden images"
	for _, g := range c.options.Golden {
		if slices.Contains(g.Digests, digest) {
			return
		}
		if g.Name == name {
			what = "FROM " + s.base + " names golden image " + g.Name + ", but not by the digest of one of its channels"
			if len(g.Digests) > 0 {
				what += " (" + strings.Join(g.Digests, ", ") + ")"
			}
		}
	}
	c.findAt(ruleOf(fromNotGolden), what, s.line, s.ignores)
}

// end judges what becomes of the whole file: the last stage.
func (c *checker) end() {
	lineage := c.lineage()
	if len(lineage) == 0 {
		return
	}
	last, first := lineage[0], lineage[len(lineage)-1]
	for i := range c.result.Bases {
		c.result.Bases[i].Last = slices.ContainsFunc(lineage, func(s *stage) bool { return s.line == c.result.Bases[i].Line })
	}
	c.golden(first)
	c.rootAtEnd(lineage)
	if !last.owned {
		c.findAt(ruleOf(ownerLabel), "no label says whose the image is", last.line, last.ignores)
	}
	var compilers []string
	for _, s := range lineage {
		compilers = append(compilers, s.compilers...)
	}
	if sdk := sdkOf(first.base); sdk != "" {
		compilers = append(compilers, "the base image "+sdk)
	}
	if len(compilers) > 0 {
		c.findAt(ruleOf(compiler), "the last stage has "+strings.Join(compilers, ", "), last.line, last.ignores)
	}
}

// rootAtEnd finds the last USER. A base that calls itself nonroot is believed.
func (c *checker) rootAtEnd(lineage []*stage) {
	for _, s := range lineage {
		if s.user == "" {
			continue
		}
		name, _, _ := strings.Cut(s.user, ":")
		if name == "root" || isNumber(name) && strings.Trim(name, "0") == "" {
			c.findAt(ruleOf(root), "USER "+s.user+" is the last word", s.userLine, s.userIgnores)
		}
		return
	}
	base := lineage[len(lineage)-1].base
	if strings.Contains(base, "nonroot") || strings.Contains(base, "rootless") || strings.Contains(base, "unprivileged") {
		return
	}
	c.findAt(ruleOf(root), "no USER is set", lineage[0].line, lineage[0].ignores)
}

// sdks are images made to build with.
var sdks = strings.Fields("golang rust gcc maven gradle clang swift haskell buildpack-deps sdk emsdk elixir erlang")

func sdkOf(base string) string {
	name, _, _ := strings.Cut(base, "@")
	name, tag, _ := strings.Cut(path.Base(name), ":")
	if slices.Contains(sdks, name) && !strings.Contains(tag, "slim") || strings.Contains(tag, "jdk") {
		return base
	}
	return ""
}

// labels that say whose an image is.
var owners = strings.Fields("owner team maintainer contact org.opencontainers.image.authors org.opencontainers.image.vendor org.label-schema.vendor goldkeep.dev/owner")

func (c *checker) label(s *stage, cmd *instructions.LabelCommand) {
	for _, l := range cmd.Labels {
		s.owned = s.owned || slices.Contains(owners, strings.ToLower(l.Key)) && l.Value != ""
	}
	c.leaked(c.node.Original)
}

// expander fills in arguments as the builder does.
type expander struct {
	lex    *shell.Lex
	given  map[string]string // by the user
	global map[string]string // ARG before the first FROM
	stage  map[string]string // ARG and ENV of the stage
}

func newExpander(escape rune, given map[string]string) expander {
	return expander{lex: shell.NewLex(escape), given: given, global: map[string]string{}, stage: map[string]string{}}
}

func (e *expander) enterStage() { e.stage = map[string]string{} }

// variables is what shell.Lex asks.
type variables map[string]string

// Get implements shell.EnvGetter.
func (v variables) Get(name string) (string, bool) {
	value, ok := v[name]
	return value, ok
}

// Keys implements shell.EnvGetter.
func (v variables) Keys() []string {
	var keys []string
	for k := range v {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// expand fills in what is known; the rest stays as it is written.
func (e *expander) expand(word string) string {
	result, missing, err := e.lex.ProcessWord(word, variables(e.stage))
	if err != nil || len(missing) > 0 && result == "" {
		return word
	}
	return result
}

// expandFrom fills in the arguments of FROM, and says whether all were known.
func (e *expander) expandFrom(word string) (string, bool) {
	result, err := e.lex.ProcessWordWithMatches(word, variables(e.global))
	if err != nil {
		return word, false
	}
	for name := range result.Unmatched {
		if !strings.Contains(word, "${"+name+":") { // with a default it is known
			return result.Result, false
		}
	}
	return result.Result, result.Result != ""
}

// argument notes an ARG, with the value given from outside where there is one.
func (e *expander) argument(name string, value *string, global bool) {
	into := e.stage
	if global {
		into = e.global
	}
	switch outside, ok := e.given[name]; {
	case ok:
		into[name] = outside
	case value != nil:
		result, _, err := e.lex.ProcessWord(*value, variables(into))
		if err == nil {
			into[name] = result
		}
	case !global:
		if known, ok := e.global[name]; ok {
			into[name] = known
		}
	}
}
