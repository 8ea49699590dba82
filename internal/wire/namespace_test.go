// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// in is the header that names a namespace.
func in(ns string) []string { return []string{"X-Vault-Namespace", ns} }

// namespaces makes some, each with a kv engine at secret/ that holds a secret "a" which
// says where it is, and a policy "all" that allows everything there.
func (w *world) namespaces(paths ...string) {
	w.t.Helper()
	for _, path := range paths {
		parent, name, nested := strings.Cut(path, "/")
		if !nested {
			parent, name = "", path
		}
		w.ok("PUT", "sys/namespaces/"+name, w.root, "{}", in(parent)...)
		w.ok("POST", "sys/mounts/secret", w.root, `{"type":"kv-v2"}`, in(path)...)
		w.ok("POST", "secret/data/a", w.root, `{"data":{"where":"`+path+`"}}`, in(path)...)
		w.ok("PUT", "sys/policies/acl/all", w.root, everything, in(path)...)
	}
}

// everything is the policy "all": what is mounted in the namespace, nothing below it.
const everything = `{"policy":"path \"secret/*\" { capabilities = [\"create\",\"read\",\"update\",\"delete\",\"list\",\"patch\"] }` +
	` path \"sys/*\" { capabilities = [\"create\",\"read\",\"update\",\"delete\",\"list\",\"sudo\"] }` +
	` path \"auth/*\" { capabilities = [\"create\",\"read\",\"update\",\"delete\",\"list\",\"sudo\"] }` +
	` path \"identity/*\" { capabilities = [\"create\",\"read\",\"update\",\"delete\",\"list\"] }"}`

// tokenIn makes a token in a namespace.
func (w *world) tokenIn(ns, by, fields string) string {
	w.t.Helper()
	return w.text(w.ok("POST", "auth/token/create", by, fields, in(ns)...), "auth", "client_token")
}

// text is a text somewhere in an answer.
func (w *world) text(answer []byte, path ...string) string {
	w.t.Helper()
	var at any
	w.must(json.Unmarshal(answer, &at))
	for _, name := range path {
		inner, _ := at.(map[string]any)
		at = inner[name]
	}
	found, ok := at.(string)
	if !ok {
		w.t.Fatalf("no text at %v in %s", path, answer)
	}
	return found
}

func TestNamespaces(t *testing.T) {
	w := newWorld(t)
	w.namespaces("team", "other", "team/blue")
	team := w.tokenIn("team", w.root, `{"policies":["all"]}`)
	for _, c := range []struct {
		does, token, ns string
		status          int
		says            string
	}{
		{"GET secret/data/a", w.root, "team", 200, `"where":"team"`},
		{"GET secret/data/a", w.root, "/team/", 200, `"where":"team"`},
		{"GET secret/data/a", w.root, "team/blue", 200, `"where":"team/blue"`},
		{"GET blue/secret/data/a", w.root, "team", 200, `"where":"team/blue"`},
		{"GET team/blue/secret/data/a", w.root, "", 200, `"where":"team/blue"`},
		{"GET team/blue/secret/data/a", w.root, "root", 200, `"where":"team/blue"`},
		{"GET secret/data/a", w.root, "", 404, ""},
		{"GET secret/data/a", w.root, "nowhere", 404, "no such namespace"},
		{"GET secret/data/a", w.root, "team/nowhere", 404, "no such namespace"},
		{"GET secret/data/a", w.root, "team/secret", 404, "no such namespace"},
		{"GET secret/data/a", team, "team", 200, `"where":"team"`},
		{"GET team/secret/data/a", team, "", 200, `"where":"team"`},
		{"GET secret/data/a", team, "team/blue", 403, ""},
		{"GET secret/data/a", team, "other", 403, ""},
		{"GET secret/data/a", team, "", 403, ""},
		{"GET sys/mounts", team, "", 403, ""},
		{"GET auth/token/lookup-self", team, "team", 200, `"policies":["all","default"]`},
		{"GET auth/token/lookup-self", w.root, "team", 200, `"policies":["root"]`},
		{"LIST sys/namespaces", w.root, "", 200, `"keys":["other/","team/"]`},
		{"LIST sys/namespaces", team, "team", 200, `"keys":["blue/"]`},
		{"SCAN sys/namespaces", w.root, "", 200, `"keys":["other/","team/","team/blue/"]`},
		{"GET sys/namespaces/team", w.root, "", 200, `"path":"team/"`},
		{"GET sys/namespaces/blue", w.root, "team", 200, `"path":"team/blue/"`},
		{"GET sys/namespaces/none", w.root, "", 404, ""},
		{"PUT sys/namespaces/secret {}", w.root, "", 400, "conflicts with existing mount"},
		{"PUT sys/namespaces/sys {}", w.root, "", 400, "reserved"},
		{"PUT sys/namespaces/a/b {}", w.root, "", 400, "must not contain /"},
		{`POST sys/mounts/team {"type":"kv"}`, w.root, "", 400, "already in use"},
		{`POST sys/mounts/team/deeper {"type":"kv"}`, w.root, "", 400, "already in use"},
		{"GET sys/seal-status", w.root, "team", 400, "only available in root namespace"},
		{"GET sys/health", w.root, "team", 400, "only available in root namespace"},
		{"GET sys/host-info", w.root, "team", 400, "only available in root namespace"},
		{"GET team/sys/host-info", w.root, "", 400, "only available in root namespace"},
		{"DELETE sys/namespaces/team", w.root, "", 400, "containing child namespaces"},
		{"DELETE sys/namespaces/none", w.root, "", 200, "does not exist"},
		{"DELETE sys/mounts/team", w.root, "", 204, ""},
		{"GET secret/data/a", w.root, "team", 200, `"where":"team"`},
	} {
		t.Run(c.does+" in "+c.ns, func(t *testing.T) {
			method, rest, _ := strings.Cut(c.does, " ")
			path, body, _ := strings.Cut(rest, " ")
			status, answer := w.do(method, path, c.token, body, in(c.ns)...)
			if status != c.status || !strings.Contains(string(answer), c.says) {
				t.Errorf("%d %s, want %d with %q", status, answer, c.status, c.says)
			}
		})
	}
}
