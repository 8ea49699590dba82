// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// statement is a vendor's OpenVEX document about Debian's zlib.
func statement(flaw, status string, at time.Time) []byte {
	why := ""
	switch status {
	case "not_affected":
		why = `,"justification":"vulnerable_code_not_present"`
	case "affected":
		why = `,"action_statement":"update"`
	}
	return fmt.Appendf(nil, `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://example.com/%s","author":"Vendor","timestamp":%q,"version":1,
		"statements":[{"vulnerability":{"name":%q},"products":[{"@id":"pkg:deb/debian/zlib?arch=source"}],"status":%q%s}]}`,
		flaw, at.UTC().Format(time.RFC3339Nano), flaw, status, why)
}

// flawed is a feed in which Debian's zlib has one bad flaw.
func flawed(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	f := must(z.Create("DSA-7.json"))(t)
	must(io.WriteString(f, `{"id":"DSA-7","upstream":["CVE-7"],"modified":"2026-01-01T00:00:00Z","published":"2026-01-01T00:00:00Z",
		"severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
		"affected":[{"package":{"ecosystem":"Debian:12","name":"zlib"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1:1.2.14"}]}]}]}`))(t)
	ok(t, z.Close())
	return out.Bytes()
}

// TestVendorsAndDecisionsChangeVerdicts: what a vendor says, and what people decide,
// has exactly the verdicts concerned made anew, and shows its reason.
func TestVendorsAndDecisionsChangeVerdicts(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	must(w.UploadFeed(ctx, "Debian", bytes.NewReader(flawed(t))))(t)
	img := must(w.AddImage(ctx, "app", bytes.NewReader(archive(t, debian(t, "one")))))(t)
	docs := documents(img.ID)
	docs.Documents[0].Text = strings.NewReplacer("{age: {max: 30d}}", "{vulnerabilities: {maxCVSS: 6.9}}", "[{age: {max: 45d, grace: 5d}}]", "[]").Replace(docs.Documents[0].Text)
	docs.Documents[0].Text += "---\napiVersion: goldkeep.dev/v1\nkind: Environment\nmetadata: {name: test, owner: sec}\nspec: {admit: [{vulnerabilities: {maxCVSS: 6.9}}]}\n"
	must(w.Apply(ctx, docs))(t)
	admitted := func(environment string) bool {
		t.Helper()
		kept := must(w.Image(ctx, img.ID))(t)
		for _, v := range kept.Verdicts { // what is kept is what is acted on
			if v.Environment == environment {
				fresh := must(w.Verdict(ctx, environment, img.ID))(t)
				if fresh.Admit.Answer != v.Admit.Answer {
					t.Errorf("%s: kept %s, judged now %s", environment, v.Admit.Answer, fresh.Admit.Answer)
				}
				return v.Admit.Answer == "yes"
			}
		}
		t.Fatalf("no verdict for %s", environment)
		return false
	}
	hidden := func() string {
		ev := decode[verdict.Evidence](t, must(w.Image(ctx, img.ID))(t).Evidence)
		return ev.Findings[0].Hidden + ev.Findings[0].Vendor
	}
	if admitted("prod") || admitted("test") {
		t.Fatal("the flaw does not count")
	}

	old, now := time.Now().Add(-time.Hour), time.Now()
	change := must(w.UploadVendor(ctx, "debian", []string{"pkg:deb/debian"}, bytes.NewReader(statement("CVE-7", "not_affected", old))))(t)
	if change.Added != 1 || change.Images != 1 {
		t.Errorf("change %+v", change)
	}
	if !admitted("prod") || !strings.HasPrefix(hidden(), "not affected says debian: vulnerable code not present (https://example.com/CVE-7)") {
		t.Errorf("a vendor's word does not count: %q", hidden())
	}
	if again := must(w.UploadVendor(ctx, "debian", []string{"pkg:deb/debian"}, bytes.NewReader(statement("CVE-7", "not_affected", old))))(t); again.Added != 0 || again.Images != 0 {
		t.Errorf("the same again: %+v", again)
	}
	// A newer statement wins, and is shown.
	must(w.UploadVendor(ctx, "other", []string{"pkg:"}, bytes.NewReader(statement("CVE-7", "under_investigation", now))))(t)
	if admitted("prod") || !strings.HasPrefix(hidden(), "under investigation says other") {
		t.Errorf("an old word counts against a newer one: %q", hidden())
	}
	must(w.ForgetVendor(ctx, "other"))(t)
	if !admitted("prod") {
		t.Error("a forgotten vendor still counts")
	}
	must(w.ForgetVendor(ctx, "debian"))(t)
	if admitted("prod") || hidden() != "" {
		t.Errorf("a forgotten vendor still counts: %q", hidden())
	}

	// For a workload: in its environment only.
	made := must(w.PutTriage(ctx, client.Triage{
		Finding: "CVE-7", Workload: "pay", Packages: []string{"pkg:deb/debian/zlib"}, Status: "accepted", Reason: "no input from outside", Expires: now.Add(time.Hour),
	}))(t)
	if made.Author != "root" {
		t.Errorf("the author is %q, not who asked", made.Author)
	}
	if !admitted("prod") || admitted("test") {
		t.Errorf("a decision for a workload counts in prod: %v, in test: %v", admitted("prod"), admitted("test"))
	}
	document := must(w.ExportVEX(ctx, "", "", "pay", "openvex"))(t)
	ok(t, w.DeleteTriage(ctx, made.ID))
	if admitted("prod") {
		t.Error("a decision taken back still counts")
	}
	if tried := must(w.ImportVEX(ctx, client.VEXImport{Document: string(document), Try: true}))(t); len(tried.Statements[0].Triage) != 1 || admitted("prod") {
		t.Errorf("a trial changed something: %+v", tried)
	}
	back := must(w.ImportVEX(ctx, client.VEXImport{Document: string(document)}))(t).Statements[0].Triage[0]
	if !admitted("prod") || back.Workload != "pay" || back.Author != "root" || back.Imported != "root" || !back.Expires.Equal(made.Expires) {
		t.Errorf("imported %+v", back)
	}
	// The workload moves to another environment: so does what was decided for it.
	docs.Documents[0].Text = strings.Replace(docs.Documents[0].Text, "environment: prod", "environment: test", 1)
	must(w.Apply(ctx, docs))(t)
	if v := must(w.Verdict(ctx, "prod", img.ID))(t); v.Admit.Answer == "yes" {
		t.Error("a decision still counts where the workload ran before")
	}
	if v := must(w.Verdict(ctx, "test", img.ID))(t); v.Admit.Answer != "yes" {
		t.Error("a decision does not count where the workload runs now")
	}
}

func TestNobodyDecidesInAnothersName(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	img := must(w.AddImage(ctx, "app", bytes.NewReader(archive(t, debian(t, "one")))))(t)
	good := client.Triage{Finding: "CVE-1", Image: img.ID, Status: "accepted", Reason: "x", Expires: time.Now().Add(time.Hour)}
	for name, edit := range map[string]func(*client.Triage){
		"author":   func(d *client.Triage) { d.Author = "the boss" },
		"importer": func(d *client.Triage) { d.Imported = "the boss" },
	} {
		bad := good
		edit(&bad)
		if _, err := w.PutTriage(ctx, bad); !fault.Is(err, fault.Denied) && !strings.Contains(fmt.Sprint(err), "the author of a triage is who asks") {
			t.Errorf("%s: %v", name, err)
		}
	}
	token := w.token(`path "api/v1/triage" { capabilities = ["update"] }`, nil)
	someone := must(client.New(client.Config{Addr: w.url, Token: token}))(t)
	made := must(someone.PutTriage(ctx, good))(t)
	if !strings.HasPrefix(made.Author, "token ") || len(made.Author) < 20 {
		t.Errorf("nobody can tell whose token it was: author %q", made.Author)
	}
	for name, text := range map[string]string{
		"broken": "{\n\n nonsense", "nothing known": `{"a":1}`, "empty": "",
		"no end": string(statement("CVE-7", "not_affected", time.Now())),
	} {
		p := w.refused(400, "POST", "/api/v1/vex/import", w.root, fmt.Sprintf(`{"document":%q,"image":%q}`, text, img.ID))
		if name == "broken" && !strings.Contains(p.Detail, "line 3") || name == "no end" && !strings.Contains(p.Detail, "statements[0]") {
			t.Errorf("%s: %+v", name, p)
		}
	}
	if all := must(w.Triages(ctx))(t); len(all) != 1 {
		t.Errorf("bad documents left %+v", all)
	}
	w.refused(400, "GET", "/api/v1/vex/export?format=xml&image="+url.QueryEscape(img.ID), w.root, "")
	w.refused(400, "PUT", "/api/v1/vex/vendors/"+url.PathEscape("../x"), w.root, "{}")
}
