// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/manifest"
)

// Environment is dev, test, staging, prod...: a named, owned set of rules. Made
// by ParseEnvironment or from JSON it is checked, and its expressions are
// compiled once; it may then be used by many goroutines at once.
type Environment struct {
	Name    string `yaml:"-" json:"name"`
	Owner   string `yaml:"-" json:"owner"`
	Contact string `yaml:"-" json:"contact,omitempty"`
	After   string `yaml:"after" json:"after,omitempty"`   // the environment before it in promotion order
	Admit   []Rule `yaml:"admit" json:"admit"`             // may it start here? never empty
	Retain  []Rule `yaml:"retain" json:"retain,omitempty"` // may it go on? empty: always
	OnFail  Action `yaml:"onFail" json:"onFail"`           // where retain says no; default warn
}

// ParseEnvironment reads a document of the kind Environment and checks all of
// it, expressions included. The error is of the kind Invalid and unwraps to
// manifest.Errors, each with file and line.
func ParseEnvironment(doc manifest.Document) (*Environment, error) {
	if doc.Kind != "Environment" {
		return nil, manifest.Errors{doc.Errorf(doc.Line, "kind %s is not an Environment", doc.Kind)}.Err()
	}
	env := &Environment{}
	if err := doc.Decode(env); err != nil {
		return nil, err
	}
	env.Name, env.Owner, env.Contact = doc.Meta.Name, doc.Meta.Owner, doc.Meta.Contact
	var errs manifest.Errors
	env.check(func(path []string, msg string) {
		errs = append(errs, doc.Errorf(doc.LineOf(path...), "%s", msg))
	})
	if err := errs.Err(); err != nil {
		return nil, err
	}
	return env, nil
}

// UnmarshalJSON reads what MarshalJSON wrote and checks it like ParseEnvironment.
func (e *Environment) UnmarshalJSON(data []byte) error {
	type plain Environment
	var read plain
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&read); err != nil {
		return fault.New(fault.Invalid, "read environment: %w", err)
	}
	env := Environment(read)
	var errs manifest.Errors
	env.check(func(path []string, msg string) {
		errs = append(errs, manifest.Error{File: "environment " + env.Name, Msg: msg})
	})
	if err := errs.Err(); err != nil {
		return err
	}
	*e = env
	return nil
}

// Equal reports whether both say the same.
func (e Environment) Equal(other Environment) bool { return hashOf(e) == hashOf(other) }

// report takes an error at a path of the spec.
type report func(path []string, msg string)

// check finds everything wrong with the rules, sets defaults and compiles the
// expressions.
func (e *Environment) check(fail report) {
	if len(e.Admit) == 0 {
		fail([]string{"admit"}, "an environment needs at least one admit rule: without one it would admit every image without looking; the shortest rule is \"- vulnerabilities: {}\"")
	}
	if e.OnFail == "" {
		e.OnFail = Warn
	}
	checkWord(fail, []string{"onFail"}, string(e.OnFail), "warn", "revoke", "replace")
	if e.After == e.Name && e.After != "" {
		fail([]string{"after"}, "an environment cannot come after itself")
	}
	compiler := &compiler{}
	for list, rules := range map[string][]Rule{"admit": e.Admit, "retain": e.Retain} {
		for i := range rules {
			at := []string{list, strconv.Itoa(i)}
			rules[i].check(at, fail, compiler)
			if action := rules[i].OnFail; list == "admit" && action != "" && action != Warn {
				fail(append(at, "onFail"), "an admit rule refuses when it fails; the only other thing it can do is onFail: warn (to try the rule out)")
			}
		}
	}
}

// AsksSignatures reports whether a rule may rest on who has signed an image.
func (e Environment) AsksSignatures() bool {
	for _, r := range slices.Concat(e.Admit, e.Retain) {
		if r.SignedBy != nil || r.Expression != nil {
			return true
		}
	}
	return false
}

// Signers names the signers the rules ask for, each once.
func (e Environment) Signers() []string {
	var all []string
	for _, r := range slices.Concat(e.Admit, e.Retain) {
		all = append(all, r.SignedBy...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Default is the environment "goldkeep check" judges by where none is given:
// nothing known to be exploited, nothing severe that has a fix, no credentials
// in the image; a root user is a warning. It has no owner: there is nobody to call.
func Default() Environment {
	return Environment{
		Name: "default", OnFail: Warn,
		Admit: []Rule{
			{Vulnerabilities: &Vulnerabilities{MaxSeverity: "medium", Unfixed: Allow, Unlinked: Allow, Unscored: Deny}},
			{Hygiene: &Hygiene{EmbeddedSecrets: Deny, Root: Caution, UnpinnedBase: Caution}},
		},
		Retain: []Rule{{Vulnerabilities: &Vulnerabilities{Unfixed: Allow, Unlinked: Allow, Unscored: Allow, Gaps: Allow}}},
	}
}

// DefaultForBill is Default for a bill of materials, without the rules it cannot
// answer: a bill tells of packages only.
func DefaultForBill() Environment {
	env := Default()
	env.Admit = slices.DeleteFunc(env.Admit, func(r Rule) bool { return r.Hygiene != nil })
	return env
}

// checkWord refuses a word that is not one of the allowed ones.
func checkWord(fail report, path []string, word string, allowed ...string) {
	if !slices.Contains(allowed, word) {
		fail(path, path[len(path)-1]+" is "+strconv.Quote(word)+"; it must be one of "+orList(allowed))
	}
}
