// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package workload keeps who should run what, where, with which secrets: the
// kind Workload as people declare it.
package workload

import (
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goldkeep/goldkeep/internal/manifest"
)

// Workload is a named, owned application in one environment.
type Workload struct {
	Name        string   `json:"name"`
	Owner       string   `json:"owner"`
	Contact     string   `json:"contact,omitempty"`
	Protect     bool     `json:"protect,omitempty"`
	Environment string   `json:"environment"`
	Image       Image    `json:"image"`
	Nodes       []string `json:"nodes,omitempty"` // where it may run; empty: anywhere
	User        *int     `json:"user,omitempty"`  // host uid it must run as; nil: any
	Secrets     []Secret `json:"secrets,omitempty"`
	OnChange    OnChange `json:"onChange"`
}

// Image names the line of images a workload runs.
type Image struct {
	Golden  string `yaml:"golden" json:"golden"`
	Channel string `yaml:"channel" json:"channel"`
}

// Secret is one secret a workload needs and where it wants it: as a file, an
// environment variable, or both.
type Secret struct {
	KV     string `yaml:"kv" json:"kv"`                   // path in a KV engine
	Mount  string `yaml:"mount" json:"mount"`             // default "secret"
	Field  string `yaml:"field" json:"field,omitempty"`   // one field of it; "": all
	File   string `yaml:"file" json:"file,omitempty"`     // relative path below the secrets folder
	Env    string `yaml:"env" json:"env,omitempty"`       // variable for "goldkeep run"; needs Field
	Format string `yaml:"format" json:"format,omitempty"` // json (default), dotenv, or raw (needs Field)
}

// OnChange says what a workload wants when a secret of its changes.
type OnChange struct {
	Signal         string `yaml:"signal" json:"signal,omitempty"` // to the child of "goldkeep run"; default SIGHUP
	MaxUnavailable int    `yaml:"maxUnavailable" json:"maxUnavailable,omitempty"`
}

// PolicyName is the name of the computed policy a workload's tokens carry.
func (w Workload) PolicyName() string { return "workload/" + w.Name }

// Policy is the text of that policy: what its secrets need, and no more.
func (w Workload) Policy() string {
	var b strings.Builder
	for _, s := range w.Secrets {
		b.WriteString("path " + strconv.Quote(s.Mount+"/data/"+s.KV) + " { capabilities = [\"read\"] }\n")
	}
	return b.String()
}

// spec is the spec of kind Workload as people write it.
type spec struct {
	Environment string   `yaml:"environment"`
	Image       Image    `yaml:"image"`
	Nodes       []string `yaml:"nodes"`
	User        *int     `yaml:"user"`
	Secrets     []Secret `yaml:"secrets"`
	OnChange    OnChange `yaml:"onChange"`
}

// Parse reads a document of the kind Workload. Errors name file and line.
func Parse(doc manifest.Document) (*Workload, error) {
	var s spec
	if err := doc.Decode(&s); err != nil {
		return nil, err
	}
	w := &Workload{
		Name: doc.Meta.Name, Owner: doc.Meta.Owner, Contact: doc.Meta.Contact, Protect: doc.Meta.Protect,
		Environment: s.Environment, Image: s.Image, Nodes: s.Nodes, User: s.User, Secrets: s.Secrets, OnChange: s.OnChange,
	}
	var errs manifest.Errors
	fail := func(msg string, at ...string) { errs = append(errs, doc.Errorf(doc.LineOf(at...), "%s", msg)) }
	if w.Environment == "" {
		fail("a workload runs in an environment: add environment: NAME", "environment")
	}
	if w.Image.Golden == "" || w.Image.Channel == "" {
		fail("a workload names its image: add image: {golden: NAME, channel: gold}", "image")
	}
	if w.OnChange.Signal == "" {
		w.OnChange.Signal = "SIGHUP"
	}
	if !slices.Contains(signals, w.OnChange.Signal) {
		fail("signal must be one of "+strings.Join(signals, ", "), "onChange", "signal")
	}
	if w.User != nil && *w.User < 0 {
		fail("user is a number of 0 or above", "user")
	}
	if w.OnChange.MaxUnavailable < 0 {
		fail("maxUnavailable is a number of 0 or above", "onChange", "maxUnavailable")
	}
	for i, node := range w.Nodes {
		if !name.MatchString(node) {
			fail("a node's name has lower-case letters, digits, '-' and '.'", "nodes", strconv.Itoa(i))
		}
	}
	if len(w.Secrets) > maxSecrets {
		fail("a workload has at most "+strconv.Itoa(maxSecrets)+" secrets", "secrets")
		return w, errs.Err()
	}
	taken := places{}
	for i := range w.Secrets {
		at := []string{"secrets", strconv.Itoa(i)}
		w.Secrets[i].check(func(msg string) { fail(msg, at...) }, taken)
	}
	return w, errs.Err()
}

// maxSecrets bounds the secrets of one workload.
const maxSecrets = 200

var name = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$`)

var signals = []string{"SIGHUP", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGINT"}

// check sets defaults and finds what is wrong.
func (s *Secret) check(fail func(string), taken places) {
	if s.Mount == "" {
		s.Mount = "secret"
	}
	if s.Format == "" {
		s.Format = "json"
	}
	switch {
	case s.KV == "":
		fail("a secret needs a kind: kv: PATH")
	case badPath(s.KV) || badPath(s.Mount):
		fail("the path " + strconv.Quote(s.Mount+"/"+s.KV) + " is not a plain path (no empty parts, no .., no signs such as * + \" { })")
	}
	if s.File == "" && s.Env == "" {
		fail("a secret goes somewhere: add file: NAME or env: VARIABLE")
	}
	if s.File != "" && badFile(s.File) {
		fail("file must be a plain relative path below the secrets folder")
	} else if other := taken.file(s.File); other != "" {
		fail("two secrets go to the same place: " + strconv.Quote(other) + " and " + strconv.Quote(s.File))
	}
	if s.Env != "" && (s.Field == "" || !variable(s.Env)) {
		fail("env needs field: NAME (which value?) and a variable name of letters, digits and _")
	} else if taken.variable(s.Env) {
		fail("two secrets go to the variable " + s.Env)
	}
	if !slices.Contains([]string{"json", "dotenv", "raw"}, s.Format) {
		fail("format must be json, dotenv or raw")
	}
	if s.Format == "raw" && s.Field == "" {
		fail("format raw needs field: NAME (which value?)")
	}
}

// places are the files and variables that secrets go to already.
type places map[string]bool

// file takes a file. It returns the one already there that is the same, or a
// folder of it, or in it.
func (p places) file(name string) string {
	if name == "" {
		return ""
	}
	for other := range p {
		if other, isFile := strings.CutPrefix(other, "file "); isFile &&
			(other == name || strings.HasPrefix(other, name+"/") || strings.HasPrefix(name, other+"/")) {
			return other
		}
	}
	p["file "+name] = true
	return ""
}

// variable takes a variable and reports whether it was taken.
func (p places) variable(name string) bool {
	taken := name != "" && p["env "+name]
	p["env "+name] = true
	return taken
}

// maxPath bounds a path in bytes; the gate refuses longer ones.
const maxPath = 900

// badPath refuses what the gate would never serve, and what could mean more than
// one secret in a policy.
func badPath(p string) bool {
	return path.Clean("/"+p) != "/"+p || strings.Contains(p, "..") || len(p) > maxPath/2 || strings.ContainsAny(p, "*+\"\\{}") || !printable(p)
}

// badFile refuses what is no file below a folder.
func badFile(f string) bool {
	return path.IsAbs(f) || path.Clean(f) != f || f == "." || f == ".." || strings.HasPrefix(f, "../") || strings.Contains(f, "\\") || len(f) > maxPath || !printable(f)
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

func variable(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}
