// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory_test

import (
	"bytes"
	"compress/gzip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/fault"
)

func TestKeysMeet(t *testing.T) {
	for _, c := range []struct{ feedEco, feedName, imageEco, imageName string }{
		{"Ubuntu:22.04:LTS", "openssl", "Ubuntu:22.04", "openssl"},
		{"Ubuntu:Pro:22.04:LTS", "openssl", "Ubuntu:22.04", "openssl"},
		{"Ubuntu:24.10", "openssl", "Ubuntu:24.10", "openssl"},
		{"Debian:12", "openssl", "Debian:12.5", "openssl"},
		{"Alpine:v3.18", "musl", "Alpine:3.18.4", "musl"},
		{"Rocky Linux:8", "bash", "Rocky Linux:8.9", "bash"},
		{"Red Hat:enterprise_linux:9::baseos", "bash", "Red Hat:9.4", "bash"},
		{"SUSE:Linux Enterprise Module for Basesystem 15 SP5", "bash", "SUSE:15 SP5", "bash"},
		{"SUSE:Linux Enterprise Server 12 SP5-LTSS", "bash", "SUSE:12 SP5", "bash"},
		{"SUSE:Linux Enterprise Server for SAP Applications 16.0", "bash", "SUSE:16.0", "bash"},
		{"PyPI", "flask-cors", "PyPI", "Flask_Cors"},
		{"PyPI", "zope.interface", "PyPI", "zope-interface"},
		{"Go", "stdlib", "Go", "go"},
		{"NuGet", "Newtonsoft.Json", "NuGet", "newtonsoft.json"},
		{"Maven:https://repo.example.test", "a:b", "Maven", "a:b"},
	} {
		if a, b := advisory.NewKey(c.feedEco, c.feedName), advisory.NewKey(c.imageEco, c.imageName); a != b {
			t.Errorf("%v and %v do not meet", a, b)
		}
	}
	for _, c := range [][2]string{
		{"Ubuntu:22.04", "Ubuntu:Pro:FIPS:22.04:LTS"},
		{"Debian:11", "Debian:12"},
		{"Alpine:v3.1", "Alpine:v3.18"},
		{"Alpine:edge", "Alpine:v3.18"},
		{"SUSE:5.5", "SUSE:Linux Enterprise Micro 5.5"},
		{"SUSE:15 SP5", "SUSE:Linux Enterprise Server 15 SP4"},
		{"Red Hat:9", "Red Hat:rhel_eus:9.4::baseos"},
	} {
		if advisory.Ecosystem(c[0]) == advisory.Ecosystem(c[1]) {
			t.Errorf("%s and %s are not the same", c[0], c[1])
		}
	}
}

func TestBaseScore(t *testing.T) {
	for vector, want := range map[string]float64{
		"AV:N/AC:L/Au:N/C:P/I:P/A:P":                                      7.5,
		"CVSS:3.0/AV:N/AC:H/PR:N/UI:N/S:U/C:L/I:L/A:N":                    4.8,
		"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H":                    9.8,
		"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N": 9.3,
	} {
		if got, ok := advisory.BaseScore(vector); !ok || got != want {
			t.Errorf("%s = %v, %v; want %v", vector, got, ok, want)
		}
	}
	if _, ok := advisory.BaseScore("CVSS:9.9/AV:N"); ok {
		t.Error("an unknown version has a score")
	}
}

func TestParseKeepsWhatMatchingNeeds(t *testing.T) {
	rec, err := advisory.Parse([]byte(`{"id":"X-1","aliases":["CVE-2026-1"],"upstream":["CVE-2026-2"],"related":["CVE-2026-3"],
		"modified":"2026-01-02T00:00:00Z","published":"2026-01-01T00:00:00Z","details":"first line\nmore",
		"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"},{"type":"Ubuntu","score":"negligible"}],
		"references":[{"type":"WEB","url":"https://a.test"},{"type":"ADVISORY","url":"https://b.test"},{"type":"FIX","url":"javascript:alert(1)"}],
		"affected":[
			{"package":{"ecosystem":"Go","name":"m"},"ranges":[{"type":"GIT","events":[{"introduced":"0"}]},{"type":"SEMVER","events":[{"introduced":"0"},{"last_affected":"1.2.3"}]}],
			 "ecosystem_specific":{"urgency":"unimportant","imports":[{"path":"m/a"}],"severity":7}},
			{"ranges":[{"type":"GIT","events":[{"introduced":"0"}]}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []advisory.Affected{{
		Ecosystem: "Go", Name: "m", Imports: []string{"m/a"}, Urgency: "unimportant", Level: "none",
		Ranges: []advisory.Range{{Type: "GIT"}, {Type: "SEMVER", Events: []advisory.Event{{Introduced: "0"}, {LastAffected: "1.2.3"}}}},
	}}
	if d := cmp.Diff(want, rec.Affected); d != "" {
		t.Error(d)
	}
	if rec.Severity.Score != 9.8 || rec.Severity.Level != "critical" || rec.Severity.Urgency != "negligible" || rec.Summary != "first line" || rec.URL != "https://b.test" {
		t.Errorf("record = %+v", rec)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		``, `{}`, `[]`, `{"id":""}`, `{"id":"a\u0000b"}`, `{"id":"X","affected":7}`, `{"id":"X","modified":"yesterday"}`,
		`{"id":"X","affected":[{"package":{"ecosystem":"npm","name":""}}]}`,
	} {
		if _, err := advisory.Parse([]byte(text)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestParseScores(t *testing.T) {
	list := "#model_version:v1\ncve,epss,percentile\nCVE-2021-44228,0.97,0.99\nnonsense\nCVE-2021-1,0.1,0.2\nCVE-2021-2,7,1\nCVE-2021-3,0.5,0.6\n"
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write([]byte(list))
	_ = w.Close()
	for name, raw := range map[string][]byte{"plain": []byte(list), "gzip": packed.Bytes()} {
		scores, bad, err := advisory.ParseEPSS(bytes.NewReader(raw))
		if err != nil || bad != 2 || len(scores) != 3 || scores["CVE-2021-44228"].EPSS != 0.97 {
			t.Errorf("%s: %v, %d bad, %v", name, scores, bad, err)
		}
	}
	if _, _, err := advisory.ParseEPSS(strings.NewReader("<html>not found</html>")); !fault.Is(err, fault.Invalid) {
		t.Errorf("html: %v", err)
	}
	for _, text := range []string{"", "{}", `{"vulnerabilities":[{"cveID":"x"}]}`, "<html>"} {
		if _, err := advisory.ParseKEV(strings.NewReader(text)); !fault.Is(err, fault.Invalid) {
			t.Errorf("kev %q: %v", text, err)
		}
	}
}

func TestParseCVSS(t *testing.T) {
	scores, err := advisory.ParseCVSS(strings.NewReader(`{"CVE-2026-1":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H","source":"x"}]}`))
	if err != nil || len(scores["CVE-2026-1"].Vectors) != 1 {
		t.Errorf("%v, %v", scores, err)
	}
	for _, text := range []string{"", "{}", "[]", `{"CVE-2026-1":[{"score":"very bad"}]}`, `{"x":[]}`} {
		if _, err := advisory.ParseCVSS(strings.NewReader(text)); !fault.Is(err, fault.Invalid) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, name := range []string{"Go", "PyPI", "Debian", "npm", "crates.io"} {
		raw, err := os.ReadFile("testdata/" + name + ".jsonl")
		if err != nil {
			f.Fatal(err)
		}
		first, _, _ := bytes.Cut(raw, []byte("\n"))
		f.Add(first)
	}
	f.Add([]byte(`{"id":"X","database_specific":[],"affected":[{"package":{"ecosystem":":","name":"_"},"ecosystem_specific":{"imports":{}}}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		rec, err := advisory.Parse(raw)
		if err != nil {
			return
		}
		for _, k := range rec.Keys() {
			if k != advisory.NewKey(k.Ecosystem, k.Name) {
				t.Errorf("key %v is not stable", k)
			}
		}
	})
}

func FuzzParseKEV(f *testing.F) {
	raw, err := os.ReadFile("testdata/kev.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if scores, err := advisory.ParseKEV(bytes.NewReader(raw)); err == nil && len(scores) == 0 {
			t.Error("an empty catalogue is no error")
		}
	})
}

func FuzzParseEPSS(f *testing.F) {
	f.Add([]byte("#x\ncve,epss,percentile\nCVE-2021-1,0.1,0.2\n"))
	f.Add([]byte{0x1f, 0x8b, 8})
	f.Fuzz(func(t *testing.T, raw []byte) {
		scores, _, err := advisory.ParseEPSS(bytes.NewReader(raw))
		for cve, s := range scores {
			if err == nil && !(s.EPSS >= 0 && s.EPSS <= 1) {
				t.Errorf("%s has probability %v", cve, s.EPSS)
			}
		}
	})
}
