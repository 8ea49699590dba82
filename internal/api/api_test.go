// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/api"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// caller calls operations by their place in the document, and checks each answer
// against the type the operation declares.
type caller struct {
	*world
	outs map[string]any
}

func newCaller(w *world) *caller {
	c := &caller{world: w, outs: map[string]any{}}
	for _, op := range api.New(api.Options{}).Operations() {
		c.outs[op.Method+" "+op.Path] = op.Out
	}
	return c
}

var placeholder = regexp.MustCompile(`\{\w+\}`)

// call does "METHOD /template" with its placeholders filled in and returns the
// answer's body.
func (c *caller) call(op, token string, body any, vars ...string) []byte {
	c.t.Helper()
	method, path, _ := strings.Cut(op, " ")
	path, query, _ := strings.Cut(path, "?")
	key := method + " " + path
	out, known := c.outs[key]
	if !known {
		c.t.Fatalf("there is no operation %s, or it was called before", key)
	}
	delete(c.outs, key)
	path = placeholder.ReplaceAllStringFunc(path, func(string) string {
		v := vars[0]
		vars = vars[1:]
		return url.PathEscape(v)
	})
	var in io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		in = bytes.NewReader(b)
	default:
		in = bytes.NewReader(must(json.Marshal(b))(c.t))
	}
	a := c.send(method, path+"?"+query, token, in)
	if out == nil {
		if a.status != 204 || len(a.body) > 0 {
			c.t.Fatalf("%s: %d %s, want 204", op, a.status, a.body)
		}
		return nil
	}
	if a.status != 200 || a.kind != "application/json" {
		c.t.Fatalf("%s: %d %s %s", op, a.status, a.kind, a.body)
	}
	dec := json.NewDecoder(bytes.NewReader(a.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(reflect.New(reflect.TypeOf(out)).Interface()); err != nil {
		c.t.Errorf("%s: the answer is not of the type it declares: %v\n%s", op, err, a.body)
	}
	return a.body
}

func decode[T any](t testing.TB, body []byte) T {
	t.Helper()
	var v T
	ok(t, json.Unmarshal(body, &v))
	return v
}

// TestEveryOperation plays the whole story over HTTP; an operation that is left
// out fails the test.
func TestEveryOperation(t *testing.T) {
	c := newCaller(newWorld(t))
	root := c.root
	one, two := debian(t, "one"), debian(t, "two")
	change := decode[client.FeedChange](t, c.call("PUT /api/v1/advisories/{name}", root, feedOf(t, "zlib"), "Debian"))
	if change.Records != 1 {
		t.Errorf("feed %+v", change)
	}
	c.call("GET /api/v1/advisories", root, nil)
	c.call("POST /api/v1/policies/explain", root, client.PolicyQuestion{Policies: []string{"default"}, Capability: "read", Path: "auth/token/lookup-self"})
	c.call("POST /api/v1/policies/lint", root, client.PolicyText{})
	c.call("POST /api/v1/policies/simulate", root, client.PolicyChange{Policy: "default", Rules: "path \"a\" { capabilities = [\"read\"] }"})
	if found := c.call("GET /api/v1/advisories/{name}", root, nil, "DSA-1"); !strings.Contains(string(found), `"introduced":"0"`) {
		t.Errorf("advisory %s", found)
	}
	// The folder of feeds is not there: the server has tried it, and says so.
	if held := decode[client.Snapshot](t, c.call("POST /api/v1/advisories", root, struct{}{})); held.Try == nil || len(held.Feeds) != 1 {
		t.Errorf("feeds %+v", held)
	}
	img := decode[client.Image](t, c.call("POST /api/v1/images?name=app", root, archive(t, one)))
	if img.State != "known" || len(img.Evidence) == 0 {
		t.Fatalf("image %+v", img)
	}
	if strings.Contains(string(img.Evidence), planted) || !strings.Contains(string(img.Evidence), "payments") {
		t.Error("the evidence shows a credential, or no labels at all")
	}
	reg := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer reg.Close()
	ref := strings.TrimPrefix(reg.URL, "http://") + "/app:2"
	ok(t, remote.Write(must(name.ParseReference(ref))(t), two))
	pulled := decode[client.Image](t, c.call("POST /api/v1/images/pull", root, map[string]string{"reference": ref}))
	if pulled.ID == img.ID {
		t.Errorf("pulled %+v", pulled)
	}
	first := strings.TrimSuffix(ref, "2") + "1"
	ok(t, remote.Write(must(name.ParseReference(first))(t), one))
	if a := c.send("POST", "/api/v1/images/pull", root, strings.NewReader(`{"reference":"`+first+`"}`)); a.status != 200 {
		t.Fatalf("pull again: %d %s", a.status, a.body)
	}
	c.call("GET /api/v1/images?limit=1&after=", root, nil)
	plan := decode[client.Plan](t, c.call("POST /api/v1/plan", root, documents(img.ID)))
	if len(plan.Changes) != 3 {
		t.Errorf("plan %+v", plan)
	}
	c.call("POST /api/v1/apply", root, documents(img.ID))
	shown := decode[client.Image](t, c.call("GET /api/v1/images/{digest}", root, nil, img.ID))
	if len(shown.Verdicts) != 1 || shown.Verdicts[0].Admit.Answer != "yes" {
		t.Errorf("verdicts %+v", shown.Verdicts)
	}
	c.call("GET /api/v1/environments", root, nil)
	c.call("GET /api/v1/environments/{name}", root, nil, "prod")
	c.call("GET /api/v1/environments/{name}/verdicts/{digest}", root, nil, "prod", img.ID)
	checked := decode[client.Check](t, c.call("GET /api/v1/environments/{name}/checks/{digest}", root, nil, "prod", img.ID))
	if ev, v := decode[verdict.Evidence](t, checked.Evidence), decode[verdict.Verdict](t, checked.Verdict); ev.Image.ID != img.ID || !v.Admitted() {
		t.Errorf("check %s of %s", v.Admit.Answer, ev.Image.ID)
	}
	var layers []client.Layer
	for _, l := range must(debian(t, "one").Layers())(t) {
		layers = append(layers, client.Layer{DiffID: must(l.DiffID())(t).String(), Digest: must(l.Digest())(t).String()})
	}
	hit := decode[client.Affected](t, c.call("GET /api/v1/advisories/{name}/affected?limit=10&after=", root, nil, "DSA-1"))
	if hit.Total != 2 || len(hit.Images) != 2 || len(hit.Workloads) != 1 || len(hit.Channels) != 1 || hit.Channels[0].Image != img.ID {
		t.Errorf("affected %+v", hit)
	}
	other := decode[client.ImageDiff](t, c.call("GET /api/v1/images/{digest}/diff/{other}", root, nil, img.ID, pulled.ID))
	if other.From != img.ID || other.To != pulled.ID || len(other.Packages) > 0 {
		t.Errorf("diff %+v", other)
	}
	unseen := "sha256:" + strings.Repeat("0", 64)
	others := append(slices.Clone(layers), client.Layer{DiffID: unseen, Digest: unseen}, client.Layer{DiffID: layers[0].DiffID, Digest: unseen})
	known := decode[client.Layers](t, c.call("POST /api/v1/layers", root, client.Layers{Layers: others}))
	if !slices.Equal(known.Layers, layers) {
		t.Errorf("known layers %v, want %v", known.Layers, layers)
	}
	asked := decode[client.Verdict](t, c.call("POST /api/v1/environments/{name}/verdicts/{digest}", root, map[string]string{"reference": "127.0.0.1:1/app@" + unseen}, "prod", unseen))
	if asked.Admit.Answer != "unknown" || len(asked.Admit.Reasons) != 1 || asked.Admit.Reasons[0].Rule != "image" {
		t.Errorf("an image never seen: %+v", asked)
	}
	c.sign(one, two, strings.TrimSuffix(ref, ":2"))
	c.call("GET /api/v1/golden-images", root, nil)
	c.call("GET /api/v1/workloads", root, nil)
	c.call("GET /api/v1/workloads/{name}", root, nil, "pay")
	triage := decode[client.Triage](t, c.call("POST /api/v1/triage", root, client.Triage{
		Finding: "CVE-1", Image: img.ID, Status: "accepted", Reason: "behind a proxy", Expires: time.Now().Add(time.Hour),
	}))
	c.call("GET /api/v1/triage", root, nil)
	exported := c.call("GET /api/v1/vex/export?format=cyclonedx&image="+url.QueryEscape(img.ID), root, nil)
	c.call("DELETE /api/v1/triage/{id}", root, nil, triage.ID)
	back := decode[client.VEXImported](t, c.call("POST /api/v1/vex/import", root, client.VEXImport{Document: string(exported)}))
	if len(back.Statements) != 1 || len(back.Statements[0].Triage) != 1 || back.Statements[0].Triage[0].Reason != triage.Reason {
		t.Errorf("imported %+v", back)
	}
	c.call("PUT /api/v1/vex/vendors/{vendor}?about=pkg:deb/debian", root, statement("CVE-1", "not_affected", time.Now()), "debian")
	c.call("GET /api/v1/vex/vendors", root, nil)
	c.call("DELETE /api/v1/vex/vendors/{vendor}", root, nil, "debian")

	node := decode[client.NodeToken](t, c.call("POST /api/v1/nodes/{node}", root, map[string]string{}, "web-1"))
	grant := decode[client.Grant](t, c.call("POST /api/v1/instances", node.Token, admitting(t, "web-1", shown)))
	if grant.Token == "" || grant.Instance.State != "active" || len(grant.Secrets) != 1 || grant.TTL != 600 {
		t.Errorf("grant %+v", grant)
	}
	id := grant.Instance.ID
	c.call("GET /api/v1/instances", node.Token, nil)
	c.call("GET /api/v1/instances/{id}", node.Token, nil, id)
	c.call("GET /api/v1/nodes/{node}/watch?since=0&secretsSince=0&timeout=1s", node.Token, nil, "web-1")
	c.call("POST /api/v1/instances/{id}/renew", node.Token, client.RenewRequest{Node: "web-1", CSR: request(t)}, id)
	c.call("DELETE /api/v1/instances/{id}?node=web-1", node.Token, nil, id)
	c.tell()
	records := decode[struct{ Items []client.AuditRecord }](t, c.call("GET /api/v1/audit?limit=5", root, nil))
	if len(records.Items) != 5 {
		t.Errorf("%d audit records", len(records.Items))
	}
	c.call("GET /api/v1/audit/anchor", root, nil)
	c.call("GET /api/v1/openapi.json", "", nil)
	for op := range c.outs {
		t.Errorf("%s was not called", op)
	}
}

// admitting is what an honest agent sends about a container of an image.
func admitting(t testing.TB, node string, img client.Image) client.AdmitRequest {
	t.Helper()
	about := decode[struct{ Image struct{ ChainID string } }](t, img.Evidence)
	ev := must(json.Marshal(map[string]any{"kind": "podman", "image": img.ID, "chainId": about.Image.ChainID, "uid": 1000, "node": "it lies"}))(t)
	return client.AdmitRequest{Node: node, Evidence: ev, CSR: request(t)}
}

// admitted has an image known and an instance of it running on web-1.
func admitted(t testing.TB, w *world) (img client.Image, node string, grant client.Grant) {
	t.Helper()
	ctx := context.Background()
	img = *must(w.AddImage(ctx, "app", bytes.NewReader(archive(t, debian(t, "one")))))(t)
	must(w.Apply(ctx, documents(img.ID)))(t)
	node = must(w.EnrolNode(ctx, "web-1"))(t).Token
	grant = *must(w.WithToken(node).Admit(ctx, admitting(t, "web-1", img)))(t)
	return img, node, grant
}

func TestAccess(t *testing.T) {
	w := newWorld(t)
	img, node, grant := admitted(t, w)
	foreign := must(w.EnrolNode(t.Context(), "web-2"))(t).Token
	id := "/api/v1/instances/" + grant.Instance.ID
	body := func(v any) string { return string(must(json.Marshal(v))(t)) }
	for _, path := range []string{"/api/v1/workloads", "/api/v1/audit", "/api/v1/environments", "/api/v1/triage", "/api/v1/workloads/pay"} {
		w.refused(403, "GET", path, node, "")
		w.refused(403, "GET", path, grant.Token, "")
		w.refused(403, "GET", path, "", "")
		w.refused(403, "GET", path, "gks.guess", "")
	}
	w.refused(403, "POST", "/api/v1/nodes/web-9", node, "{}")
	w.refused(403, "POST", "/api/v1/apply", node, body(documents(img.ID)))
	w.refused(403, "POST", "/api/v1/images/pull", node, `{"reference":"127.0.0.1:1/x"}`)

	// Another node's instance is not there.
	w.refused(404, "GET", id, foreign, "")
	w.refused(404, "POST", id+"/renew", foreign, body(client.RenewRequest{Node: "web-2", CSR: request(t)}))
	w.refused(404, "DELETE", id+"?node=web-2", foreign, "")
	w.refused(403, "DELETE", id+"?node=web-1", foreign, "")
	w.refused(403, "GET", "/api/v1/nodes/web-1/watch", foreign, "")
	w.refused(403, "POST", "/api/v1/instances", foreign, body(admitting(t, "web-1", img)))
	if a := w.send("GET", "/api/v1/instances?all=true", foreign, nil); strings.Contains(string(a.body), grant.Instance.ID) {
		t.Error("a node sees another's instances")
	}
	if a := w.send("GET", "/api/v1/instances", node, nil); !strings.Contains(string(a.body), grant.Instance.ID) {
		t.Error("a node does not see its own instances")
	}
	// Who may make tokens may not make nodes of them.
	everything := `path "api/*" { capabilities = ["read", "update", "delete"] }`
	fake := w.token(everything, map[string]string{"node": "web-1"})
	w.refused(403, "POST", "/api/v1/instances", fake, body(admitting(t, "web-1", img)))
	w.refused(403, "GET", "/api/v1/nodes/web-1/watch", fake, "")
	if in := must(w.Instance(t.Context(), grant.Instance.ID))(t); in.Node != "web-1" {
		t.Errorf("the evidence named the node: %s", in.Node)
	}
}

// TestPathsCannotSlipPastPolicies spells a denied path in every way.
func TestPathsCannotSlipPastPolicies(t *testing.T) {
	w := newWorld(t)
	admitted(t, w)
	token := w.token(`path "api/v1/workloads/*" { capabilities = ["read"] }
path "api/v1/workloads/pay" { capabilities = ["deny"] }`, nil)
	for _, path := range []string{"/api/v1/workloads/pay", "/api/v1/workloads/p%61y", "/api/v1/workloads/%70%61%79", "/api/v1/workloads/pay/", "/api/%761/workloads/pay"} {
		w.refused(403, "GET", path, token, "")
	}
	for _, path := range []string{"/api/v1/workloads/x%2Fpay", "/api/v1/workloads%2fpay", "/api/v1/workloads/..%2fworkloads/pay", "/api/v1/workloads/%2e%2e/x", "/api/v1/workloads/a%00b"} {
		if a := w.send("GET", path, token, nil); a.status < 400 || a.status >= 500 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	w.refused(404, "GET", "/api/v1/workloads/p%2561y", token, "")
	w.refused(405, "PATCH", "/api/v1/workloads/pay", token, "")
	w.refused(405, "DELETE", "/api/v1/workloads/pay", w.root, "")
	w.refused(404, "GET", "/api/v1/nothing", w.root, "")
	for _, digest := range []string{"sha256:abc", "sha512:" + strings.Repeat("a", 128), "latest", "sha256:" + strings.Repeat("A", 64), "sha256:" + strings.Repeat("a", 64) + "%0a"} {
		w.refused(400, "GET", "/api/v1/images/"+digest, w.root, "")
	}
}

func TestProblems(t *testing.T) {
	w := newWorld(t)
	img, node, _ := admitted(t, w)
	p := w.refused(400, "POST", "/api/v1/plan", w.root, `{"documents":[{"file":"a.yaml","text":"kind: x\nfoo: 1\n"},{"file":"b.yaml","text":"- 1\n"}]}`)
	if len(p.Errors) < 3 || !strings.HasPrefix(p.Errors[0], "a.yaml:") || !strings.HasPrefix(p.Errors[len(p.Errors)-1], "b.yaml:") {
		t.Errorf("errors %q", p.Errors)
	}
	many := must(json.Marshal(client.PlanRequest{Documents: []client.Document{{File: "m.yaml", Text: strings.Repeat("- 1\n---\n", 3000)}}}))(t)
	if p = w.refused(400, "POST", "/api/v1/plan", w.root, string(many)); len(p.Errors) != 101 || len(p.Detail) > 20_000 {
		t.Errorf("%d errors, %d bytes of detail", len(p.Errors), len(p.Detail))
	}
	for _, body := range []string{"[]", "{", `{"documents":1}`, `{"docs":[]}`, `{}`, `{"documents":[]} x`, "\x00"} {
		if p := w.refused(400, "POST", "/api/v1/plan", w.root, body); p.Kind != "invalid" {
			t.Errorf("%q: %+v", body, p)
		}
	}
	p = w.refused(413, "POST", "/api/v1/plan", w.root, `{"documents":[{"file":"`+strings.Repeat("x", 9<<20)+`"}]}`)
	if p.Kind != "too_large" {
		t.Errorf("problem %+v", p)
	}
	unseen := img
	unseen.ID = "sha256:" + strings.Repeat("e", 64)
	body := string(must(json.Marshal(admitting(t, "web-1", unseen)))(t))
	if p = w.refused(403, "POST", "/api/v1/instances", node, body); !p.Wanted || p.Kind != "refused" || p.Hint == "" {
		t.Errorf("an unseen image: %+v", p)
	}
	young := documents(img.ID)
	young.Documents[0].Text = strings.Replace(young.Documents[0].Text, "30d", "1m", 1)
	must(w.Apply(t.Context(), young))(t)
	body = string(must(json.Marshal(admitting(t, "web-1", img)))(t))
	if p = w.refused(403, "POST", "/api/v1/instances", node, body); p.Verdict == nil || p.Verdict.Admit.Answer != "no" || p.Hint == "" {
		t.Errorf("an old image: %+v", p)
	}
}

func TestHostileUploads(t *testing.T) {
	w := newWorld(t)
	for _, file := range []string{"digest-traversal", "config-not-json", "size-mismatch", "config-wrong-types"} {
		text := string(must(os.ReadFile(filepath.Join("..", "image", "testdata", "hostile", file+".oci.tar")))(t))
		if p := w.refused(400, "POST", "/api/v1/images?name="+file, w.root, text); p.Kind != "invalid" || strings.Contains(p.Detail, "\n") {
			t.Errorf("%s: %+v", file, p)
		}
	}
	w.refused(400, "POST", "/api/v1/images", w.root, "no image at all")
	w.refused(400, "POST", "/api/v1/images", w.root, "")
	w.refused(400, "PUT", "/api/v1/advisories/Go", w.root, "no zip")
	w.refused(400, "PUT", "/api/v1/advisories/kev", w.root, "no JSON")
	for _, img := range must(w.Images(t.Context()))(t) {
		if img.State != "failed" || img.Error == "" {
			t.Errorf("hostile uploads left %+v", img)
		}
	}
}

func TestUploadsAreBounded(t *testing.T) {
	dir := t.TempDir()
	e := api.New(api.Options{TempDir: dir, MaxUpload: 1000})
	for _, path := range []string{"v1/images", "v1/advisories/Go"} {
		_, err := e.Handle(t.Context(), &engine.Request{Op: policy.Update, Path: path, Body: strings.NewReader(strings.Repeat("x", 1001))})
		if !fault.Is(err, fault.TooLarge) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if left := must(os.ReadDir(dir))(t); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestEvidenceCanBeReadWhileSealed(t *testing.T) {
	w := newWorld(t)
	img, node, grant := admitted(t, w)
	if a := w.send("PUT", "/v1/sys/seal", w.root, nil); a.status != 204 {
		t.Fatalf("seal: %d %s", a.status, a.body)
	}
	for _, path := range []string{
		"/api/v1/images", "/api/v1/images/" + img.ID, "/api/v1/environments/prod/verdicts/" + img.ID, "/api/v1/instances",
		"/api/v1/advisories", "/api/v1/golden-images", "/api/v1/triage",
	} {
		for _, token := range []string{w.root, node, grant.Token} {
			if a := w.send("GET", path, token, nil); a.status != 200 {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		w.refused(403, "GET", path, "gks.guess", "")
		w.refused(403, "GET", path, "", "")
	}
	for _, path := range []string{"/api/v1/workloads", "/api/v1/workloads/pay", "/api/v1/audit"} {
		if p := w.refused(503, "GET", path, w.root, ""); p.Kind != "sealed" || p.Hint == "" {
			t.Errorf("%s: %+v", path, p)
		}
	}
	w.refused(503, "POST", "/api/v1/apply", w.root, "{}")
	w.refused(503, "POST", "/api/v1/instances", node, "{}")
}

// FuzzAdmit sends bodies an agent might send: whatever they hold, the answer is
// a plain no.
func FuzzAdmit(f *testing.F) {
	w := newWorld(f)
	img, _, _ := admitted(f, w)
	good := admitting(f, "web-1", img)
	f.Add(string(must(json.Marshal(good))(f)))
	for _, body := range []string{
		"{}", `{"node":"a","evidence":null,"csr":""}`, `{"node":"a","evidence":{"kind":"podman","image":"sha256:x"}}`,
		`{"node":"a","evidence":{"kind":"process","executable":"sha256:` + strings.Repeat("1", 64) + `","uid":4294967295},"csr":"-----BEGIN"}`,
		`{"node":"` + strings.Repeat("a", 5000) + `","evidence":{"kind":"podman","pid":-1}}`,
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		here := *w
		here.t = t
		a := here.send("POST", "/api/v1/instances", w.root, strings.NewReader(body))
		if a.status >= 500 || a.status != 200 && a.kind != "application/problem+json" {
			t.Errorf("%q: %d %s", body, a.status, a.body)
		}
	})
}
