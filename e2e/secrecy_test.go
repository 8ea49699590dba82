// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"bytes"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // to look into the database

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
)

// planted is what must not be found: names of secrets, and what only they keep.
type planted struct {
	names  map[string]string // what it is -> text
	values map[string]string
	bodies []string // of every answer that is an error
}

// find returns which planted texts are in data, in clear, as hex or as base64.
func find(data []byte, texts map[string]string) (found []string) {
	for what, text := range texts {
		plain := []byte(text)
		forms := [][]byte{plain, []byte(hex.EncodeToString(plain)), bytes.ToUpper([]byte(hex.EncodeToString(plain)))}
		for shift := range 3 { // base64 of a text within others, at any place
			whole := base64.StdEncoding.EncodeToString(append(make([]byte, shift), plain...))
			forms = append(forms, []byte(whole[shift+2:len(whole)-4]))
		}
		for _, form := range forms {
			if bytes.Contains(data, form) {
				found = append(found, what)
				break
			}
		}
	}
	return found
}

func TestFindFindsInEveryForm(t *testing.T) {
	texts := map[string]string{"x": "planted-text-17"}
	for _, data := range []string{
		"a planted-text-17 b", hex.EncodeToString([]byte("planted-text-17")),
		base64.StdEncoding.EncodeToString([]byte("before planted-text-17 after")), base64.RawURLEncoding.EncodeToString([]byte("1planted-text-17")),
	} {
		if len(find([]byte(data), texts)) != 1 {
			t.Errorf("not found in %q", data)
		}
	}
	if len(find([]byte("planted-text-18"), texts)) != 0 {
		t.Error("found what is not there")
	}
}

// TestNothingSecretOutside searches everything a server leaves on disk, says in
// its log, answers as an error and counts as a metric for what was planted.
func TestNothingSecretOutside(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		s := newServer(t, nil)
		p := plant(t, s)
		p.search(t, s)
	})
	t.Run("postgres", func(t *testing.T) {
		dsn := storetest.PostgresDSN(t)
		s := newServer(t, func(s *server, c config) { s.env = []string{"GOLDKEEP_DATABASE_URL=" + dsn} })
		p := plant(t, s)
		p.search(t, s)
		p.searchDatabase(t, dsn)
	})
}

// plant uses all there is with names and values that can be found again.
func plant(t *testing.T, s *server) *planted {
	t.Helper()
	p := &planted{
		names: map[string]string{
			"secret path": "plantedpath-ledger", "mount": "plantedmount-vault", "field": "plantedfield-pin", "policy's path": "plantedrule-orders",
			"workload's secret": "plantedneed-stripe", "metadata": "plantedmeta-owner", "wrapped field": "plantedwrap-key",
			"cubbyhole": "plantedcubby-hole",
		},
		values: map[string]string{"value": "plantedvalue-hunter2", "old value": "plantedvalue-older1", "deleted value": "plantedvalue-gone", "wrapped": "plantedvalue-wrapped"},
	}
	p.values["root token"] = s.root
	key := must(os.ReadFile(s.path("key")))(t)
	p.values["key"] = string(key)
	n, v := p.names, p.values
	mount := "/v1/" + n["mount"]
	s.do("POST", "/v1/sys/mounts/"+n["mount"], map[string]any{"type": "kv", "options": map[string]string{"version": "2"}, "description": "x"}, nil)
	field := func(value string) map[string]any { return map[string]any{"data": map[string]any{n["field"]: value}} }
	s.do("POST", mount+"/data/"+n["secret path"], field(v["old value"]), nil)
	s.do("POST", mount+"/data/"+n["secret path"], field(v["value"]), nil)
	s.do("POST", mount+"/metadata/"+n["secret path"], map[string]any{"custom_metadata": map[string]string{n["metadata"]: v["value"]}}, nil)
	s.do("POST", mount+"/data/deleted/"+n["secret path"], field(v["deleted value"]), nil)
	s.do("DELETE", mount+"/metadata/deleted/"+n["secret path"], nil, nil)
	s.do("POST", "/v1/cubbyhole/"+n["cubbyhole"], map[string]any{n["field"]: v["value"]}, nil)
	s.do("PUT", "/v1/sys/policies/acl/reader", map[string]string{"policy": fmt.Sprintf("path %q {\n  capabilities = [\"read\"]\n}\n", n["mount"]+"/data/"+n["policy's path"])}, nil)
	p.values["token"] = s.token(map[string]any{"policies": []string{"reader"}, "ttl": "1h", "display_name": "ci"})
	p.values["revoked token"] = s.token(map[string]any{"policies": []string{"reader"}, "num_uses": 3})
	s.do("POST", "/v1/auth/token/revoke", map[string]string{"token": v["revoked token"]}, nil)
	p.values["wrapping token"] = s.wrap(p)
	declared := fmt.Sprintf(`apiVersion: goldkeep.dev/v1
kind: Environment
metadata: {name: prod, owner: o}
spec: {admit: [{vulnerabilities: {}}]}
---
apiVersion: goldkeep.dev/v1
kind: GoldenImage
metadata: {name: app, owner: o}
spec: {channels: {gold: "sha256:%064d"}}
---
apiVersion: goldkeep.dev/v1
kind: Workload
metadata: {name: app, owner: o}
spec:
  environment: prod
  image: {golden: app, channel: gold}
  secrets: [{kv: %s, field: %s, file: x.json}]
`, 7, n["workload's secret"], n["field"])
	if _, err := s.Apply(t.Context(), client.PlanRequest{Documents: []client.Document{{File: "a.yaml", Text: declared}}}); err != nil {
		t.Fatal(err)
	}
	p.values["node token"] = must(s.EnrolNode(t.Context(), "web1"))(t).Token
	p.provoke(s)
	return p
}

func (s *server) wrap(p *planted) string {
	req := must(newRequest(s, "POST", "/v1/sys/wrapping/wrap", `{"`+p.names["wrapped field"]+`":"`+p.values["wrapped"]+`"}`))(s.t)
	req.Header.Set("X-Vault-Wrap-TTL", "300")
	resp := must(s.http.Do(req))(s.t)
	defer func() { _ = resp.Body.Close() }()
	var got struct {
		Wrap struct {
			Token string `json:"token"`
		} `json:"wrap_info"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil || got.Wrap.Token == "" {
		s.t.Fatalf("wrap: %d %v", resp.StatusCode, err)
	}
	return got.Wrap.Token
}

// provoke asks for errors of every kind, with planted texts in the request.
func (p *planted) provoke(s *server) {
	data := "/v1/" + p.names["mount"] + "/data/"
	value := p.values["value"]
	for _, ask := range []struct{ token, method, path, body string }{
		{p.values["revoked token"], "GET", data + p.names["secret path"], ""},
		{p.values["token"], "GET", data + p.names["secret path"], ""},
		{p.values["token"], "POST", data + p.names["policy's path"], `{"data":{"a":"` + value + `"}}`},
		{s.root, "POST", data + "x", `{"data":{"a":"` + value + `"}`},
		{s.root, "POST", data + "x", `{"data":"` + value + `"}`},
		{s.root, "POST", data + "x", `{"data":{"a":"` + value + `"},"options":{"cas":7}}`},
		{s.root, "POST", data + "x", `["` + value + `"]`},
		{s.root, "GET", data + "nothing", ""},
		{s.root, "PUT", "/v1/sys/policies/acl/bad", `{"policy":"path \"` + value + `\" { capabilities = [\"` + value + `\"] }"}`},
		{s.root, "PUT", "/v1/sys/policies/acl/bad", `{"policy":"` + value + `"}`},
		{s.root, "POST", "/v1/sys/wrapping/unwrap", `{"token":"` + p.values["token"] + `"}`},
		{s.root, "POST", "/v1/auth/token/lookup", `{"token":"` + p.values["revoked token"] + `"}`},
		{s.root, "POST", "/v1/auth/token/create", `{"ttl":"` + value + `"}`},
		{s.root, "POST", "/v1/auth/token/create", `{"id":"` + p.values["token"] + `"}`},
		{s.root, "POST", "/v1/sys/mounts/" + p.names["mount"], `{"type":"` + value + `"}`},
		{s.root, "PUT", "/v1/sys/unseal", `{"key":"` + value + `"}`},
		{s.root, "POST", "/v1/nothing/" + value, `{}`},
		{s.root, "POST", "/api/v1/apply", `{"documents":[{"file":"x","text":"` + value + `"}]}`},
		{s.root, "POST", "/api/v1/instances", `{"node":"web1","csr":"` + value + `","evidence":{"kind":"process","executable":"` + value + `"}}`},
		{p.values["node token"], "GET", data + p.names["secret path"], ""},
		{value, "GET", "/api/v1/images", ""},
	} {
		status, body := s.ask(ask.token, ask.method, ask.path, ask.body)
		if status < 400 {
			if !strings.HasSuffix(ask.path, "unseal") { // unsealing what is unsealed tells its status
				s.t.Errorf("%s %s: %d", ask.method, ask.path, status)
			}
			continue
		}
		p.bodies = append(p.bodies, body)
	}
}

func (p *planted) search(t *testing.T, s *server) {
	t.Helper()
	for _, body := range p.bodies {
		tokens := map[string]string{}
		for what, text := range p.values {
			if what != "value" { // what the caller has just sent, may be quoted to him
				tokens[what] = text
			}
		}
		for _, what := range find([]byte(body), tokens) {
			t.Errorf("an error tells the %s: %s", what, body)
		}
	}
	_, metrics := s.ask("", "GET", "/metrics", "")
	if !strings.Contains(metrics, "goldkeep_requests_total") {
		t.Error("there are no metrics")
	}
	p.check(t, "/metrics", []byte(metrics), nil)
	p.check(t, "the log", []byte(s.out.String()), nil)
	p.searchFiles(t, s) // while it runs: database and write-ahead log
	if code := s.stop(t); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	p.check(t, "the log", []byte(s.out.String()), nil)
	p.searchFiles(t, s)
	if got := cli(t, nil, "", "audit", "verify", s.path("data", "audit.log")); got.code != 0 {
		t.Errorf("audit verify: %s%s", got.out, got.errors)
	}
}

func (p *planted) check(t *testing.T, where string, data []byte, but []string) {
	t.Helper()
	for _, texts := range []map[string]string{p.names, p.values} {
	next:
		for _, what := range find(data, texts) {
			for _, b := range but {
				if b == what {
					continue next
				}
			}
			t.Errorf("%s holds the %s", where, what)
		}
	}
}

func (p *planted) searchFiles(t *testing.T, s *server) {
	t.Helper()
	looked := 0
	err := filepath.WalkDir(s.path("data"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("others can read %s: %v", d.Name(), info.Mode())
		}
		data := must(os.ReadFile(path))(t)
		var but []string
		switch d.Name() {
		case "root-token":
			but = []string{"root token"} // what it is for
		case "audit.log":
			but = []string{"mount"} // docs/audit.md says so
		}
		p.check(t, d.Name(), data, but)
		looked++
		return nil
	})
	if err != nil || looked < 6 {
		t.Errorf("looked into %d files: %v", looked, err)
	}
}

// searchDatabase looks into every row of every table.
func (p *planted) searchDatabase(t *testing.T, dsn string) {
	t.Helper()
	db := must(sql.Open("pgx", dsn))(t)
	defer func() { _ = db.Close() }()
	tables := column(t, db, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
	rows := 0
	for _, table := range tables {
		all := column(t, db, fmt.Sprintf("SELECT x::text FROM %q AS x", table))
		p.check(t, "table "+table, []byte(strings.Join(all, "\n")), nil)
		rows += len(all)
	}
	if len(tables) < 5 || rows < 20 {
		t.Errorf("looked at %d rows of %d tables", rows, len(tables))
	}
}

func column(t *testing.T, db *sql.DB, query string) (all []string) {
	t.Helper()
	rows := must(db.QueryContext(t.Context(), query))(t)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		all = append(all, text)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
