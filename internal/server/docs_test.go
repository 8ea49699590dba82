// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"io"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/server"
)

// TestDocumentedFields compares docs/server.md with the configuration.
func TestDocumentedFields(t *testing.T) {
	text, err := os.ReadFile("../../docs/server.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	_, table, _ := strings.Cut(string(text), "| field | default | meaning |")
	table, _, _ = strings.Cut(table, "\n\n")
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 {
			continue
		}
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[1], -1) {
			documented = append(documented, m[1])
		}
	}
	want := fields(reflect.TypeFor[server.Config](), "")
	slices.Sort(want)
	slices.Sort(documented)
	if !slices.Equal(want, documented) {
		t.Errorf("docs/server.md has %v\nthe configuration has %v", documented, want)
	}
}

func fields(typ reflect.Type, prefix string) (names []string) {
	for i := range typ.NumField() {
		f := typ.Field(i)
		name := prefix + f.Tag.Get("yaml")
		switch {
		case f.Tag.Get("yaml") == "-":
		case f.Tag.Get("yaml") == ",inline":
			names = append(names, fields(f.Type, prefix)...)
		case f.Type.Kind() == reflect.Struct:
			names = append(names, fields(f.Type, name+".")...)
		default:
			names = append(names, name)
		}
	}
	return names
}

// TestDocumentedMetrics compares docs/server.md with /metrics.
func TestDocumentedMetrics(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.TLS.Off = true })
	resp, err := http.Get(w.client.Addr() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	docs, err := os.ReadFile("../../docs/server.md")
	if err != nil {
		t.Fatal(err)
	}
	var served, documented []string
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (goldkeep_\w+)`).FindAllStringSubmatch(string(got), -1) {
		served = append(served, m[1])
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(goldkeep_\\w+)`").FindAllStringSubmatch(string(docs), -1) {
		documented = append(documented, m[1])
	}
	slices.Sort(served)
	slices.Sort(documented)
	if !slices.Equal(served, documented) {
		t.Errorf("docs/server.md has %v\n/metrics has %v", documented, served)
	}
}
