// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// openVEXContext is the version of OpenVEX that is written.
const openVEXContext = "https://openvex.dev/ns/v0.2.0"

// The wire form of OpenVEX 0.2.0 (https://github.com/openvex/spec). Documents of
// 0.0.x, where flaw and products are plain strings, are read too.
type openVEX struct {
	Context    string             `json:"@context"`
	ID         string             `json:"@id"`
	Author     string             `json:"author"`
	Role       string             `json:"role,omitempty"`
	Timestamp  string             `json:"timestamp"`
	Updated    string             `json:"last_updated,omitempty"`
	Version    json.RawMessage    `json:"version"` // 0.0.x: a string
	Tooling    string             `json:"tooling,omitempty"`
	Statements []openVEXStatement `json:"statements"`
}

type openVEXStatement struct {
	ID            string             `json:"@id,omitempty"`
	Vulnerability openVEXFlaw        `json:"vulnerability"`
	Timestamp     string             `json:"timestamp,omitempty"`
	Updated       string             `json:"last_updated,omitempty"`
	Products      []openVEXComponent `json:"products,omitempty"`
	Subcomponents []openVEXComponent `json:"subcomponents,omitempty"` // 0.0.x
	Status        Status             `json:"status"`
	Supplier      string             `json:"supplier,omitempty"`
	Notes         string             `json:"status_notes,omitempty"`
	Justification string             `json:"justification,omitempty"`
	Impact        string             `json:"impact_statement,omitempty"`
	Action        string             `json:"action_statement,omitempty"`
	ActionTime    string             `json:"action_statement_timestamp,omitempty"`
}

type openVEXFlaw struct {
	ID      string   `json:"@id,omitempty"`
	Name    string   `json:"name"`
	Aliases []string `json:"aliases,omitempty"`
}

// UnmarshalJSON also reads a plain name.
func (f *openVEXFlaw) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, &f.Name)
	}
	type plain openVEXFlaw
	return json.Unmarshal(data, (*plain)(f))
}

type openVEXComponent struct {
	ID            string             `json:"@id,omitempty"`
	Identifiers   map[string]string  `json:"identifiers,omitempty"`
	Hashes        map[string]string  `json:"hashes,omitempty"`
	Subcomponents []openVEXComponent `json:"subcomponents,omitempty"`
}

// UnmarshalJSON also reads a plain identifier.
func (c *openVEXComponent) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		return json.Unmarshal(data, &c.ID)
	}
	type plain openVEXComponent
	return json.Unmarshal(data, (*plain)(c))
}

// name is the package URL of a component, or else its identifier.
func (c openVEXComponent) name() string {
	if purl := c.Identifiers["purl"]; purl != "" && !strings.HasPrefix(c.ID, "pkg:") {
		return purl
	}
	return c.ID
}

func readOpenVEX(data []byte) (*Document, error) {
	var in openVEX
	if err := decode(data, &in); err != nil {
		return nil, err
	}
	issued, err := newest("timestamp", in.Timestamp, in.Updated)
	if err != nil {
		return nil, err
	}
	doc := &Document{Format: "openvex", ID: in.ID, Author: in.Author, Time: issued}
	if _, err := fmt.Sscanf(strings.Trim(string(in.Version), `"`), "%d", &doc.Version); err != nil && len(in.Version) > 0 {
		return nil, wrong("version", "%.80s is no number", in.Version)
	}
	for at, text := range map[string]string{"@id": in.ID, "author": in.Author} {
		if text == "" {
			return nil, wrong(at, "it is missing")
		}
		if err := checkName(at, text); err != nil {
			return nil, err
		}
	}
	if len(in.Statements) == 0 {
		return nil, wrong("statements", "there is none")
	}
	r := reader{doc: doc}
	for i := range in.Statements {
		s, err := in.Statements[i].statement(fmt.Sprintf("statements[%d]", i), issued)
		if err != nil {
			return nil, err
		}
		if err := r.add(s); err != nil {
			return nil, err
		}
	}
	return doc, nil
}

// statement checks what OpenVEX demands of one.
func (in *openVEXStatement) statement(at string, issued time.Time) (Statement, error) {
	notes, own, err := parseOwn(at+".status_notes", in.Notes)
	if err != nil {
		return Statement{}, err
	}
	s := Statement{
		At: at, ID: in.ID, Names: in.Vulnerability.names(), Time: issued, Status: in.Status, Justification: in.Justification,
		Text: joined(notes, in.Impact), Action: in.Action, Own: own,
	}
	own1, err := newest(at, in.Timestamp, in.Updated)
	if err != nil {
		return s, err
	}
	if !own1.IsZero() {
		s.Time = own1
	}
	switch {
	case !slices.Contains(statuses, s.Status):
		return s, wrong(at+".status", "it is %.80q; it must be one of not_affected, affected, fixed, under_investigation", s.Status)
	case s.Status != NotAffected && s.Justification != "":
		return s, wrong(at+".justification", "only not_affected has one; the status is %s", s.Status)
	case s.Status == NotAffected && s.Justification == "" && in.Impact == "":
		return s, wrong(at, "not_affected needs a justification or an impact_statement")
	}
	for _, p := range in.Products {
		s.Products = append(s.Products, p.product(in.Subcomponents))
	}
	return s, nil
}

func (f openVEXFlaw) names() []string {
	name := f.Name
	if name == "" {
		name = f.ID[strings.LastIndexByte(f.ID, '/')+1:]
	}
	names := []string{name}
	for _, a := range f.Aliases {
		if !slices.Contains(names, a) && a != "" {
			names = append(names, a)
		}
	}
	return names
}

func (c openVEXComponent) product(more []openVEXComponent) Product {
	p := Product{ID: c.name()}
	if hash := strings.ToLower(c.Hashes["sha-256"]); hash != "" {
		p.Digests = append(p.Digests, "sha256:"+hash)
	}
	for _, sub := range append(slices.Clone(c.Subcomponents), more...) {
		// One without a name is kept: leaving it out would widen what is said.
		p.Packages = append(p.Packages, sub.name())
	}
	return p
}

// The lines of the last paragraph of status_notes that say what OpenVEX has no
// field for. What stands before is never read for them.
const (
	ownAuthor   = "goldkeep-author: "
	ownImported = "goldkeep-imported: "
	ownDecision = "goldkeep-decision: "
	ownExpires  = "goldkeep-expires: "
)

func (o Own) paragraph() string {
	var lines []string
	if o.Decision != "" {
		lines = append(lines, ownDecision+o.Decision)
	}
	if o.Author != "" {
		lines = append(lines, ownAuthor+oneLine(o.Author))
	}
	if o.Imported != "" {
		lines = append(lines, ownImported+oneLine(o.Imported))
	}
	if !o.Expires.IsZero() {
		lines = append(lines, ownExpires+stamp(o.Expires))
	}
	return strings.Join(lines, "\n")
}

func parseOwn(at, notes string) (text string, own Own, err error) {
	last := ""
	if cut := strings.LastIndex(notes, "\n\n"); cut >= 0 {
		text, last = notes[:cut], notes[cut+2:]
	} else {
		last = notes
	}
	for line := range strings.SplitSeq(last, "\n") {
		switch key, value, _ := strings.Cut(line, ": "); key + ": " {
		case ownAuthor:
			own.Author = value
		case ownImported:
			own.Imported = value
		case ownDecision:
			own.Decision = value
		case ownExpires:
			if own.Expires, err = newest(at, value); err != nil {
				return "", Own{}, err
			}
		default:
			return notes, Own{}, nil // an ordinary paragraph
		}
	}
	return text, own, nil
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// WriteOpenVEX writes a document as OpenVEX 0.2.0. It must have a statement.
func WriteOpenVEX(doc Document) ([]byte, error) {
	if len(doc.Statements) == 0 {
		return nil, fault.New(fault.NotFound, "there is no statement to write").WithHint("decide something first: goldkeep finding triage")
	}
	out := openVEX{
		Context: openVEXContext, ID: doc.ID, Author: doc.Author, Timestamp: stamp(doc.Time), Tooling: "goldkeep",
		Version: json.RawMessage(fmt.Sprint(max(1, doc.Version))),
	}
	for _, s := range doc.Statements {
		out.Statements = append(out.Statements, s.openVEX())
	}
	return pretty(out)
}

func (s Statement) openVEX() openVEXStatement {
	out := openVEXStatement{
		ID: s.ID, Vulnerability: openVEXFlaw{Name: s.Names[0], Aliases: s.Names[1:]}, Timestamp: stamp(s.Time), Status: s.Status,
		Notes: s.Text, Justification: s.Justification, Action: s.Action,
	}
	if s.Status == NotAffected && s.Justification == "" {
		out.Impact, out.Notes = s.Text, ""
	}
	if own := s.Own.paragraph(); own != "" {
		out.Notes += "\n\n" + own
	}
	for _, p := range s.Products {
		c := openVEXComponent{ID: p.ID}
		if strings.HasPrefix(p.ID, "pkg:") {
			c.Identifiers = map[string]string{"purl": p.ID}
		}
		for _, d := range p.Digests {
			c.Hashes = map[string]string{"sha-256": strings.TrimPrefix(d, "sha256:")}
		}
		for _, sub := range p.Packages {
			c.Subcomponents = append(c.Subcomponents, openVEXComponent{ID: sub})
		}
		out.Products = append(out.Products, c)
	}
	return out
}

func pretty(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode VEX: %w", err)
	}
	return b.Bytes(), nil
}
