// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var (
	record = flag.String("record", "", "a vault program: ask it, and keep its answers")
	gaps   = flag.Bool("gaps", false, "write down how Goldkeep differs, instead of failing")
)

// TestAnswersLikeTheReference plays every script and compares each answer with
// the recorded one of the reference server; see testdata/README.md.
func TestAnswersLikeTheReference(t *testing.T) {
	scripts := readScripts(t)
	if len(scripts) < 5 {
		t.Fatalf("only %d scripts", len(scripts))
	}
	known := readGaps(t)
	var found []string
	for _, name := range slices.Sorted(maps.Keys(scripts)) {
		if *record != "" {
			recordReference(t, name, scripts[name])
		}
		found = append(found, compareScript(t, name, scripts[name], known)...)
	}
	writeGaps(t, requestGaps, found)
}

func recordReference(t *testing.T, name string, script []request) {
	t.Helper()
	p := newPlayer(startVault(t, *record))
	var b bytes.Buffer
	for _, r := range script {
		line := must(json.Marshal(p.play(t, r)))(t)
		b.Write(append(line, '\n'))
	}
	if err := os.WriteFile(recordings(name), b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

func recordings(name string) string { return filepath.Join("testdata", "recorded", name+".jsonl") }

// compareScript plays a script on a Goldkeep of its own. It returns what
// differs without a reason.
func compareScript(t *testing.T, name string, script []request, known map[string]bool) []string {
	t.Helper()
	lines := bytes.Split(bytes.TrimSpace(must(os.ReadFile(recordings(name)))(t)), []byte("\n"))
	if len(lines) != len(script) {
		t.Fatalf("%s: %d requests, %d recorded answers: renew them, see testdata/README.md", name, len(script), len(lines))
	}
	p := newPlayer(startDev(t).url)
	var found []string
	for i, r := range script {
		var want reply
		d := json.NewDecoder(bytes.NewReader(lines[i]))
		d.UseNumber()
		if err := d.Decode(&want); err != nil || want.ID != r.id {
			t.Fatalf("%s: the recorded answer %d is of %q: renew them, see testdata/README.md (%v)", r.id, i+1, want.ID, err)
		}
		want.Body = p.plain("", want.Body) // as it would be recorded today
		found = append(found, compareReply(t, r, want, p.play(t, r), known)...)
	}
	return found
}

func compareReply(t *testing.T, r request, want, got reply, known map[string]bool) []string {
	t.Helper()
	diff := differences("body", want.Body, got.Body)
	if want.Status != got.Status {
		diff = map[string]string{"status": fmt.Sprintf("is %d %s, the reference has %d %s", got.Status, show(got.Body), want.Status, show(want.Body))}
	}
	maps.DeleteFunc(diff, func(at, what string) bool { return everywhere(diff, at, what) })
	if want.Type != got.Type {
		diff["type"] = fmt.Sprintf("is %q, the reference has %q", got.Type, want.Type)
	}
	if want.Cache != got.Cache {
		diff["cache"] = fmt.Sprintf("is %q, the reference has %q", got.Cache, want.Cache)
	}
	var found []string
	for _, at := range slices.Sorted(maps.Keys(diff)) {
		if !reasoned(r, at) {
			id := r.id + " " + at
			found = append(found, id+": "+diff[at])
			if !*gaps && !known[id] {
				t.Errorf("%s: %s", id, diff[at])
			}
		}
	}
	for at := range r.differs {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(diff)), func(d string) bool { return d == at || strings.HasPrefix(d, at+".") }) {
			t.Errorf("%s: %s is said to differ and does not", r.id, at)
		}
	}
	return found
}

// ours are fields and names that the reference does not know: OpenBao's, and
// what Goldkeep adds.
var ours = map[string]bool{
	"soft_deleted": true, "certificate_chain": true, "metadata_cas_required": true, "current_metadata_version": true, // OpenBao
	"identity_policies": true, "token_policies": true, // OpenBao has every key in every answer
	"api/": true, // Goldkeep's own nouns are a mount, for policies
}

// everywhere is whether a difference is one that is meant, in any answer.
func everywhere(diff map[string]string, at, what string) bool {
	field := at[strings.LastIndex(at, ".")+1:]
	switch {
	case strings.HasPrefix(what, "more: ") && ours[field]:
		return true
	case field == "performance_standby", strings.HasPrefix(field, "replication_"): // of an edition with replication
		return true
	case at == "status" && strings.HasPrefix(what, "is 4") && strings.Contains(what, "the reference has 500"): // a mistake of the caller is not ours
		return true
	}
	_, twice := diff["body.data"+strings.TrimPrefix(at, "body")] // what stands beside data too
	return twice
}

// reasoned is whether the script says why a field, or one above it, differs.
func reasoned(r request, at string) bool {
	for name := range r.differs {
		if at == name || strings.HasPrefix(at, name+".") {
			return true
		}
	}
	return false
}
