// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"sort"
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// Value is one secret as the workload gets it.
type Value struct {
	Name   string            `json:"name"`
	Env    string            `json:"env,omitempty"`    // variable that holds Value
	File   string            `json:"file,omitempty"`   // below the identity's directory
	Format string            `json:"format,omitempty"` // how Value is written
	Value  string            `json:"value,omitempty"`
	Values map[string]string `json:"values,omitempty"` // variable -> value, where no single one was named
}

const (
	maxFileName = 200
	maxFiles    = 1000 // of one workload
)

// render turns a secret's fields into what the workload gets, and into files.
func render(s Secret, data map[string]json.RawMessage) (Value, map[string][]byte, error) {
	v := Value{Name: s.Name, Env: s.Env, File: s.File, Format: s.Format}
	if v.Format == "" {
		v.Format = "json"
	}
	if s.Env == "" && s.File == "" || strings.HasSuffix(s.File, "/") {
		return renderFields(v, s, data)
	}
	text, err := renderText(s, v.Format, data)
	if err != nil {
		return v, nil, err
	}
	v.Value = text
	if s.File == "" {
		return v, nil, nil
	}
	return v, map[string][]byte{s.File: []byte(text)}, checkFileName(s.File)
}

// renderFields gives each field its own variable, or its own file.
func renderFields(v Value, s Secret, data map[string]json.RawMessage) (Value, map[string][]byte, error) {
	v.Values = map[string]string{}
	files := map[string][]byte{}
	for field, raw := range data {
		if s.Field != "" && field != s.Field {
			continue
		}
		if s.File == "" {
			v.Values[variable(field)] = plain(raw)
			continue
		}
		name := path.Join(s.File, field)
		if err := checkFileName(name); err != nil || path.Base(name) != field {
			return v, nil, fault.New(fault.Invalid, "secret %s: field %q cannot be a file name", s.Name, field)
		}
		files[name] = []byte(plain(raw))
	}
	return v, files, nil
}

func renderText(s Secret, format string, data map[string]json.RawMessage) (string, error) {
	if s.Field != "" {
		raw, ok := data[s.Field]
		if !ok {
			return "", fault.New(fault.NotFound, "secret %s has no field %q", s.Name, s.Field).
				WithHint("its fields can be listed with `goldkeep kv get`")
		}
		return plain(raw), nil
	}
	switch format {
	case "json":
		text, err := json.Marshal(data) // keys sorted: the same secret gives the same file
		if err != nil {
			return "", fault.New(fault.Invalid, "secret %s is no JSON object", s.Name)
		}
		return string(text), nil
	case "dotenv":
		return dotenv(data), nil
	case "raw":
		if len(data) == 1 {
			for _, raw := range data {
				return plain(raw), nil
			}
		}
		return "", fault.New(fault.Invalid, "secret %s has %d fields; format raw needs to know which one", s.Name, len(data)).
			WithHint("name one with field:")
	}
	return "", fault.New(fault.Invalid, "secret %s: there is no format %q", s.Name, format).WithHint("use json, dotenv or raw")
}

// plain is a string's text, and the JSON of everything else.
func plain(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}

var dotenvEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "$", `\$`, "`", "\\`")

func dotenv(data map[string]json.RawMessage) string {
	names := make([]string, 0, len(data))
	for field := range data {
		names = append(names, field)
	}
	sort.Strings(names)
	var b strings.Builder
	for _, field := range names {
		b.WriteString(variable(field) + `="` + dotenvEscapes.Replace(plain(data[field])) + "\"\n")
	}
	return b.String()
}

var notInVariable = regexp.MustCompile(`[^A-Z0-9_]`)

// variable makes a field's name an environment variable's: "api-key" -> API_KEY.
func variable(field string) string {
	name := notInVariable.ReplaceAllString(strings.ToUpper(field), "_")
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	return name
}

var filePart = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*$`)

// checkFileName accepts "a", "a/b", "tls/key.pem": nothing absolute, hidden or
// climbing, at most four levels.
func checkFileName(name string) error {
	parts := strings.Split(name, "/")
	bad := func(p string) bool { return !filePart.MatchString(p) }
	if len(name) > maxFileName || len(parts) > 4 || slices.ContainsFunc(parts, bad) {
		return fault.New(fault.Invalid, "%q cannot be the file of a secret", name).
			WithHint("use a relative path of letters, digits, dots, dashes and underscores")
	}
	return nil
}
