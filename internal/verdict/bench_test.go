// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package verdict_test

import (
	"fmt"
	"testing"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/manifest"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// BenchmarkEvaluate judges an image of 500 packages with 300 findings.
func BenchmarkEvaluate(b *testing.B) {
	env, ev := environment(b, busy), good()
	for i := range 500 {
		ev.Components = append(ev.Components, component.Component{PURL: fmt.Sprint("pkg:deb/debian/p", i), Ecosystem: "Debian:12", Name: fmt.Sprint("p", i), Version: "1", Path: "var/lib/dpkg/status"})
	}
	for i := range 300 {
		ev.Findings = append(ev.Findings, openssl(fmt.Sprint("CVE-", i), float64(i%100)/10, "3.0.2"))
	}
	for b.Loop() {
		verdict.Evaluate(env, ev, now)
	}
}

func BenchmarkParseEnvironment(b *testing.B) {
	docs, err := manifest.Parse("f", []byte("apiVersion: goldkeep.dev/v1\nkind: Environment\nmetadata: {name: prod, owner: s}\nspec:\n"+busy))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := verdict.ParseEnvironment(docs[0]); err != nil {
			b.Fatal(err)
		}
	}
}
