// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/manifest"
)

// Rule is one thing the evidence must show: exactly one of its fields is set,
// OnFail aside. docs/rules.md describes each with an example.
type Rule struct {
	Vulnerabilities *Vulnerabilities `yaml:"vulnerabilities" json:"vulnerabilities,omitempty"`
	Hygiene         *Hygiene         `yaml:"hygiene" json:"hygiene,omitempty"`
	Channel         Names            `yaml:"channel" json:"channel,omitempty"`   // stands in one of these
	SignedBy        Names            `yaml:"signedBy" json:"signedBy,omitempty"` // by all of these signers
	Age             *Age             `yaml:"age" json:"age,omitempty"`
	BaseAge         *Age             `yaml:"baseAge" json:"baseAge,omitempty"` // of the image it is built on
	Advisories      *Advisories      `yaml:"advisories" json:"advisories,omitempty"`
	Labels          *Labels          `yaml:"labels" json:"labels,omitempty"`
	Expression      *Expression      `yaml:"expression" json:"expression,omitempty"`
	OnFail          Action           `yaml:"onFail" json:"onFail,omitempty"` // instead of the environment's
}

// Level says what to do about something.
type Level string

// The levels. An empty Level means Deny in Vulnerabilities and Allow in Hygiene.
const (
	Deny    Level = "deny"
	Caution Level = "warn"
	Allow   Level = "allow"
)

// Vulnerabilities judges the findings. What is not written is strict.
type Vulnerabilities struct {
	MaxCVSS        *float64                     `yaml:"maxCVSS" json:"maxCVSS,omitempty"`               // a higher base score fails; 0 to 10
	MaxSeverity    string                       `yaml:"maxSeverity" json:"maxSeverity,omitempty"`       // a higher severity fails: none, low, medium, high
	MaxUrgency     string                       `yaml:"maxUrgency" json:"maxUrgency,omitempty"`         // a higher urgency fails: out-of-cycle, scheduled, defer
	KnownExploited Level                        `yaml:"knownExploited" json:"knownExploited,omitempty"` // listed in KEV
	Unfixed        Level                        `yaml:"unfixed" json:"unfixed,omitempty"`               // allow: no fix, not counted (unless known exploited)
	Unlinked       Level                        `yaml:"unlinked" json:"unlinked,omitempty"`             // allow: the flawed Go package is not in the program, not counted
	Unscored       Level                        `yaml:"unscored" json:"unscored,omitempty"`             // no severity stated, where one is asked for; not written: the answer is unknown
	Gaps           Level                        `yaml:"gaps" json:"gaps,omitempty"`                     // packages no feed covers; deny: the answer is unknown
	Grace          map[string]manifest.Duration `yaml:"grace" json:"grace,omitempty"`                   // by severity, unscored or knownExploited, from Finding.Since
}

// Hygiene judges facts about files and configuration.
type Hygiene struct {
	Root            Level `yaml:"root" json:"root,omitempty"`
	Shell           Level `yaml:"shell" json:"shell,omitempty"`
	PackageManager  Level `yaml:"packageManager" json:"packageManager,omitempty"`
	Compiler        Level `yaml:"compiler" json:"compiler,omitempty"`
	NetworkTool     Level `yaml:"networkTool" json:"networkTool,omitempty"`
	SetUID          Level `yaml:"setuid" json:"setuid,omitempty"`
	FileCapability  Level `yaml:"fileCapability" json:"fileCapability,omitempty"`
	WorldWritable   Level `yaml:"worldWritable" json:"worldWritable,omitempty"`
	EmbeddedSecrets Level `yaml:"embeddedSecrets" json:"embeddedSecrets,omitempty"`
	UnpinnedBase    Level `yaml:"unpinnedBase" json:"unpinnedBase,omitempty"`
	RemoteLogin     Level `yaml:"remoteLogin" json:"remoteLogin,omitempty"`
}

// Age judges how long ago an image was built.
type Age struct {
	Max   manifest.Duration `yaml:"max" json:"max"`
	Grace manifest.Duration `yaml:"grace" json:"grace,omitempty"` // after Max: a warning until this is over too
}

// Advisories judges how fresh the advisory database is.
type Advisories struct {
	MaxAge manifest.Duration `yaml:"maxAge" json:"maxAge"`
}

// Labels judges the labels of the image.
type Labels struct {
	Require Names `yaml:"require" json:"require"` // present and not empty
}

// Names is one name or a list of names.
type Names []string

// UnmarshalYAML reads a name or a list of names.
func (n *Names) UnmarshalYAML(node *yaml.Node) error {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	if node.Kind == yaml.ScalarNode {
		*n = Names{node.Value}
		return nil
	}
	return node.Decode((*[]string)(n))
}

// check finds everything wrong with the rule and compiles its expression.
func (r *Rule) check(at []string, fail report, compiler *compiler) {
	here := func(path ...string) []string { return append(slices.Clone(at), path...) }
	kinds := r.kinds()
	if len(kinds) != 1 {
		said := "none"
		if len(kinds) > 0 {
			said = strings.Join(kinds, " and ")
		}
		fail(at, "a rule has exactly one of vulnerabilities, hygiene, channel, signedBy, age, baseAge, advisories, labels, expression; this one has "+said)
	}
	if r.OnFail != "" {
		checkWord(fail, here("onFail"), string(r.OnFail), "warn", "revoke", "replace")
	}
	if r.Vulnerabilities != nil {
		r.Vulnerabilities.check(here("vulnerabilities"), fail)
	}
	if r.Hygiene != nil {
		r.Hygiene.check(here("hygiene"), fail)
	}
	checkNames(fail, here("channel"), r.Channel, r.Channel != nil)
	checkNames(fail, here("signedBy"), r.SignedBy, r.SignedBy != nil)
	if r.Age != nil && r.Age.Max <= 0 {
		fail(here("age"), "age needs a max, for example {max: 30d}")
	}
	if r.BaseAge != nil && r.BaseAge.Max <= 0 {
		fail(here("baseAge"), "baseAge needs a max, for example {max: 60d}")
	}
	if r.Advisories != nil && r.Advisories.MaxAge <= 0 {
		fail(here("advisories"), "advisories needs a maxAge, for example {maxAge: 3d}")
	}
	if r.Labels != nil {
		checkNames(fail, here("labels", "require"), r.Labels.Require, true)
	}
	if r.Expression != nil {
		if err := r.Expression.compile(compiler); err != nil {
			fail(here("expression", "rule"), err.Error())
		}
		if strings.TrimSpace(r.Expression.Message) == "" {
			fail(here("expression"), "an expression needs a message: it is what people read when the rule fails")
		}
	}
}

// kinds names the fields that are set.
func (r *Rule) kinds() []string {
	var set []string
	for _, k := range []struct {
		name string
		set  bool
	}{
		{"vulnerabilities", r.Vulnerabilities != nil},
		{"hygiene", r.Hygiene != nil},
		{"channel", r.Channel != nil},
		{"signedBy", r.SignedBy != nil},
		{"age", r.Age != nil},
		{"baseAge", r.BaseAge != nil},
		{"advisories", r.Advisories != nil},
		{"labels", r.Labels != nil},
		{"expression", r.Expression != nil},
	} {
		if k.set {
			set = append(set, k.name)
		}
	}
	return set
}

func (v *Vulnerabilities) check(at []string, fail report) {
	here := func(path ...string) []string { return append(slices.Clone(at), path...) }
	if v.MaxCVSS != nil && !(*v.MaxCVSS >= 0 && *v.MaxCVSS <= 10) {
		fail(here("maxCVSS"), fmt.Sprintf("maxCVSS is %v; CVSS scores run from 0 to 10", *v.MaxCVSS))
	}
	if v.MaxSeverity != "" {
		checkWord(fail, here("maxSeverity"), v.MaxSeverity, "none", "low", "medium", "high", "critical")
	}
	if v.MaxUrgency != "" {
		checkWord(fail, here("maxUrgency"), v.MaxUrgency, string(finding.OutOfCycle), string(finding.Scheduled), string(finding.Defer))
	}
	for name, level := range map[string]Level{
		"knownExploited": v.KnownExploited, "unfixed": v.Unfixed, "unlinked": v.Unlinked, "unscored": v.Unscored, "gaps": v.Gaps,
	} {
		if level != "" {
			checkWord(fail, here(name), string(level), "deny", "allow")
		}
	}
	for name := range v.Grace {
		if !slices.Contains([]string{"critical", "high", "medium", "low", "unscored", "knownExploited"}, name) {
			fail(here("grace", name), manifest.UnknownField(name, "grace", []string{"critical", "high", "medium", "low", "unscored", "knownExploited"}))
		}
	}
	if v.KnownExploited == Allow && !v.measures() {
		fail(at, "this rule judges nothing: set maxCVSS, maxSeverity, maxUrgency or knownExploited: deny")
	}
}

func (h *Hygiene) check(at []string, fail report) {
	set := false
	for _, w := range h.wanted() {
		if w.level == "" {
			continue
		}
		set = true
		checkWord(fail, append(slices.Clone(at), w.name), string(w.level), "deny", "warn", "allow")
	}
	if !set {
		fail(at, "this rule judges nothing: name at least one thing, for example {root: deny}")
	}
}

func checkNames(fail report, path []string, names Names, set bool) {
	if set && (len(names) == 0 || slices.Contains(names, "")) {
		fail(path, path[len(path)-1]+" needs at least one name, and none may be empty")
	}
}

func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}
