// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package finding_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/finding"
)

func TestPlaceTellsReachAndExecution(t *testing.T) {
	yes, no := true, false
	program := finding.Finding{ID: "G", Ecosystem: "Go", Path: "app/server"}
	system := finding.Finding{ID: "D", Ecosystem: "Debian:12", Path: "var/lib/dpkg/status", Binaries: []string{"libssl3", "openssl"}}
	script := finding.Finding{ID: "P", Ecosystem: "PyPI", Path: "app/site-packages/orjson-3.8.3.dist-info/METADATA"}
	module := finding.Finding{ID: "N", Ecosystem: "npm", Path: "app/node_modules/bcrypt/package.json"}
	old := finding.Finding{ID: "E", Ecosystem: "PyPI", Path: "app/site-packages/one.egg-info"}
	declared := []string{"8080/tcp"}
	socket := []finding.Socket{{Port: "8080/tcp", Path: "/app/server"}}
	cases := map[string]struct {
		f        finding.Finding
		s        finding.Surroundings
		reach    finding.Reach
		executed *bool
	}{
		"nothing known":                       {program, finding.Surroundings{}, "", nil},
		"a declared port":                     {program, finding.Surroundings{Exposed: declared}, finding.Exposed, nil},
		"the program holds the socket":        {program, finding.Surroundings{Exposed: declared, Listening: socket}, finding.Listening, nil},
		"it may be part of what listens":      {script, finding.Surroundings{Listening: socket}, finding.Listening, nil},
		"it runs in what listens":             {system, finding.Surroundings{Listening: socket, Packages: []string{"libssl3"}}, finding.Listening, &yes},
		"none of its files was seen":          {system, finding.Surroundings{Listening: socket, Packages: []string{"bash"}}, finding.Listening, nil},
		"nobody knows the packages":           {system, finding.Surroundings{Executed: []string{"/app/server"}}, "", nil},
		"the program was seen":                {program, finding.Surroundings{Executed: []string{"/app/server"}}, "", &yes},
		"the program was not seen":            {program, finding.Surroundings{Executed: []string{"/app/other"}}, "", &no},
		"somebody looked and saw nothing":     {program, finding.Surroundings{Executed: []string{}}, "", &no},
		"a library of a Python package":       {script, finding.Surroundings{Executed: []string{"/app/site-packages/orjson/orjson.so"}}, "", &yes},
		"scripts leave no trace":              {script, finding.Surroundings{Executed: []string{"/app/site-packages/other/x.so"}}, "", nil},
		"a library of a Node package":         {module, finding.Surroundings{Executed: []string{"app/node_modules/bcrypt/lib/bcrypt.node"}}, "", &yes},
		"a folder of many packages is none's": {old, finding.Surroundings{Executed: []string{"app/site-packages/orjson/orjson.so"}}, "", nil},
	}
	for name, c := range cases {
		given := []finding.Finding{c.f}
		got := finding.Place(given, c.s)[0]
		if got.Reach != c.reach || !cmp.Equal(got.Executed, c.executed) {
			t.Errorf("%s: reach %q, executed %v", name, got.Reach, got.Executed)
		}
		if !cmp.Equal(given[0], c.f) {
			t.Errorf("%s: what was given has changed", name)
		}
	}
}

func TestPlaceSaysWhy(t *testing.T) {
	no := false
	due := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	port := finding.Surroundings{Exposed: []string{"8080/tcp"}}
	cases := []struct {
		f    finding.Finding
		s    finding.Surroundings
		want string
	}{
		{
			finding.Finding{Exploited: true, Ransomware: true, Due: due, Severity: "critical", Score: 9.8, EPSS: 0.97, Fixed: "2"},
			port,
			"immediate: known to be exploited by ransomware (CISA: fix by 2026-05-01), critical (CVSS 9.8), exploitation likely (EPSS 97%), may be reachable (declares a port)",
		},
		{finding.Finding{Severity: "critical"}, port, "out-of-cycle: critical, may be reachable (declares a port), no fix"},
		{
			finding.Finding{Severity: "critical", Score: 9, Fixed: "2", Linked: &no},
			finding.Surroundings{},
			"scheduled: critical (CVSS 9.0), flawed part not linked in",
		},
		{finding.Finding{Fixed: "2"}, finding.Surroundings{}, "scheduled: severity not stated"},
		{finding.Finding{Severity: "low", Score: 2.1, Fixed: "2"}, finding.Surroundings{}, "defer: low (CVSS 2.1)"},
		{finding.Finding{Exploited: true, Hidden: "unimportant"}, finding.Surroundings{}, "defer: not counted: unimportant"},
		{
			finding.Finding{Ecosystem: "Go", Path: "app", Severity: "high", Fixed: "2"},
			finding.Surroundings{Listening: []finding.Socket{{Path: "/app"}}, Executed: []string{"/app"}},
			"out-of-cycle: high, reachable (seen listening), seen running",
		},
	}
	for _, c := range cases {
		got := finding.Place([]finding.Finding{c.f}, c.s)[0]
		if text := string(got.Urgency) + ": " + got.UrgencyWhy; text != c.want {
			t.Errorf("got  %s\nwant %s", text, c.want)
		}
	}
}

// More surroundings never make what was known before linger.
func TestPlaceAgainIsPlaceAnew(t *testing.T) {
	s := finding.Surroundings{Listening: []finding.Socket{{Port: "1/tcp", Path: "/app"}}, Executed: []string{"/app"}}
	f := []finding.Finding{{ID: "B", Ecosystem: "Go", Path: "app", Severity: "low"}, {ID: "A", Ecosystem: "Go", Path: "other", Severity: "high"}}
	first, again := finding.Place(f, s), finding.Place(finding.Place(finding.Place(f, s), finding.Surroundings{}), s)
	if diff := cmp.Diff(first, again); diff != "" {
		t.Fatal(diff)
	}
	one, _ := json.Marshal(first)
	two, _ := json.Marshal(finding.Place([]finding.Finding{f[1], f[0]}, s))
	if string(one) != string(two) {
		t.Errorf("the order given makes a difference:\n%s\n%s", one, two)
	}
}
