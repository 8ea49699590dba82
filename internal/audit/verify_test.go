// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/audit"
)

// sample is a log of ten records, as lines, and its head.
func sample(t testing.TB) ([]string, audit.Anchor) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "audit.log")
	f := open(t, audit.Options{Path: path})
	write(t, f, 10)
	_ = f.Close()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n"), f.Head()
}

func TestVerifyFinds(t *testing.T) {
	lines, head := sample(t)
	other, _ := sample(t)
	for name, c := range map[string]struct {
		change func(l []string) []string
		line   int
		text   string
	}{
		"nothing":        {func(l []string) []string { return l }, 0, ""},
		"changed":        {func(l []string) []string { l[4] = strings.Replace(l[4], "allow", "deny!", 1); return l }, 5, "was changed"},
		"removed":        {func(l []string) []string { return append(l[:4], l[5:]...) }, 5, "records 5 to 5 are missing"},
		"removed first":  {func(l []string) []string { return l[1:] }, 1, "records 1 to 1 are missing"},
		"swapped":        {func(l []string) []string { l[4], l[5] = l[5], l[4]; return l }, 5, "missing"},
		"doubled":        {func(l []string) []string { return append(l[:5], append([]string{l[4]}, l[5:]...)...) }, 6, "put in or moved"},
		"foreign record": {func(l []string) []string { l[4] = other[4]; return l }, 5, "does not follow"},
		"garbage":        {func(l []string) []string { l[4] = "{}\n"; return l }, 5, "not an audit record"},
		"cut":            {func(l []string) []string { return l[:8] }, 0, "the log was cut: it ends at record 8"},
		"torn":           {func(l []string) []string { l[9] = l[9][:20]; return l }, 10, "torn"},
		"emptied":        {func([]string) []string { return nil }, 0, "the log was cut"},
		"written anew":   {func([]string) []string { return other }, 10, "written anew"},
		"long line":      {func(l []string) []string { l[4] = strings.Repeat("x", 2<<20); return l }, 5, "longer than any record"},
	} {
		t.Run(name, func(t *testing.T) {
			copied := append([]string(nil), lines...)
			text := strings.Join(c.change(copied), "")
			if len(text) > 0 && name != "torn" && !strings.HasSuffix(text, "\n") {
				text += "\n"
			}
			res, err := audit.Verify(t.Context(), strings.NewReader(text), &head)
			if err != nil {
				t.Fatal(err)
			}
			if c.text == "" {
				if len(res.Problems) != 0 || res.Records != 10 || res.Last != head {
					t.Errorf("%+v", res)
				}
				return
			}
			if len(res.Problems) == 0 || res.Problems[0].Line != c.line || !strings.Contains(res.Problems[0].Text, c.text) {
				t.Errorf("problems %+v; want line %d %q", res.Problems, c.line, c.text)
			}
		})
	}
}

func FuzzVerify(f *testing.F) {
	lines, head := sample(f)
	f.Add([]byte(strings.Join(lines, "")))
	f.Add([]byte(lines[0]))
	f.Add([]byte(`{"seq":1,"hash":"` + strings.Repeat("0", 64) + "\"}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		res, err := audit.Verify(t.Context(), bytes.NewReader(text), &head)
		if err != nil {
			t.Fatal(err)
		}
		whole := strings.TrimSuffix(strings.Join(lines, ""), "\n")
		if len(res.Problems) == 0 && strings.TrimSuffix(string(text), "\n") != whole {
			t.Fatal("another text passes under the anchor")
		}
	})
}
