// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package internal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestMapNamesEveryRoom: ARCHITECTURE.md's map is the list of rooms, in its order.
func TestMapNamesEveryRoom(t *testing.T) {
	text := read(t, "../ARCHITECTURE.md")
	at := 0
	for _, room := range rooms {
		i := strings.Index(text[at:], "| `"+room+"` |")
		if i < 0 {
			t.Errorf("ARCHITECTURE.md's map misses %s, or names it out of order", room)
			continue
		}
		at += i
	}
}

// TestDocumentsNameWhatExists: a link or a path in a document leads somewhere.
func TestDocumentsNameWhatExists(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]+)(#[^)]*)?\)`)
	for _, doc := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, doc), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(doc), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", doc, m[1])
			}
		}
	}
}

// TestThreatModelNamesRealTests: each test the threat model leans on exists.
func TestThreatModelNamesRealTests(t *testing.T) {
	named := regexp.MustCompile("`([a-z/0-9]+)\\.((?:Test|Fuzz)\\w+)`")
	found := named.FindAllStringSubmatch(read(t, "../docs/threat-model.md"), -1)
	if len(found) < 15 {
		t.Errorf("the threat model names %d tests; it had more", len(found))
	}
	for _, m := range found {
		files, err := filepath.Glob(filepath.Join(m[1], "*_test.go"))
		if m[1] == "e2e" {
			files, err = filepath.Glob("../e2e/*_test.go")
		}
		if err != nil {
			t.Fatal(err)
		}
		there := false
		for _, f := range files {
			there = there || strings.Contains(read(t, f), "func "+m[2]+"(")
		}
		if !there {
			t.Errorf("the threat model leans on %s.%s, which is not there", m[1], m[2])
		}
	}
}

// TestEveryModuleHasAReason compares go.mod with docs/dependencies.md.
func TestEveryModuleHasAReason(t *testing.T) {
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\| (\S+[./]\S+) \|`).FindAllStringSubmatch(read(t, "../docs/dependencies.md"), -1) {
		listed[m[1]] = true
	}
	direct := regexp.MustCompile(`(?m)^\t(\S+) v\S+$`)
	mod := read(t, "../go.mod")
	for _, m := range direct.FindAllStringSubmatch(mod, -1) {
		if !listed[m[1]] {
			t.Errorf("%s is required without a reason in docs/dependencies.md", m[1])
		}
		delete(listed, m[1])
	}
	for m := range listed {
		t.Errorf("docs/dependencies.md gives a reason for %s, which is not required directly", m)
	}
	if strings.Contains(mod, "\nreplace ") {
		t.Error("go.mod has a replace line")
	}
}

func documents(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../docs/*/*.md", "../bench/*.md", "../changelog/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, found...)
	}
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
