// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// row is one line of the API's contract: a request, and what its answer looks like.
//
// shape is a list of words: "envelope" (its eight keys, and no other), "flat" (the
// keys of data repeated beside it), "bare" (no envelope), "empty" (no body),
// "warn" (there are warnings), "data{a,b}" (exactly these keys there), "data.a:int"
// (a value of this kind: int, str, bool, null, list, map, time), "data.a=text" (this
// value), "!data.a" (no such key).
type row struct {
	does   string // "GET secret/data/a"
	body   string
	status int
	shape  string
	token  string   // "": root; "-": none; else the name of one of the test's tokens
	header []string // of the request, name and value in turn
	has    string   // a text in the body
}

var mergePatch = []string{"Content-Type", "application/merge-patch+json"}

// conform sends the rows of a table, one after the other.
func conform(t *testing.T, w *world, tokens map[string]string, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(strings.ReplaceAll(r.does, "/", ":"), func(t *testing.T) {
			method, path, _ := strings.Cut(r.does, " ")
			token := w.root
			if r.token == "-" {
				token = ""
			} else if r.token != "" {
				token = tokens[r.token]
			}
			status, header, answer := w.send(method, path, token, r.body, r.header...)
			if status != r.status || !strings.Contains(string(answer), r.has) {
				t.Fatalf("%d %.1000s\nwant %d with %q", status, answer, r.status, r.has)
			}
			if header.Get("Cache-Control") != "no-store" {
				t.Error("the answer may be kept by a cache")
			}
			checkBody(t, header, status, answer, r.shape)
		})
	}
}

func checkBody(t *testing.T, header http.Header, status int, answer []byte, shape string) {
	t.Helper()
	if len(answer) == 0 {
		if status != 204 && shape != "empty" {
			t.Errorf("%d without a body", status)
		}
		return
	}
	if status == 204 || shape == "empty" {
		t.Errorf("%d with a body: %s", status, answer)
		return
	}
	if got := header.Get("Content-Type"); got != "application/json" {
		t.Errorf("content type %q", got)
	}
	var body map[string]any
	dec := json.NewDecoder(strings.NewReader(string(answer)))
	dec.UseNumber()
	if err := dec.Decode(&body); err != nil {
		t.Fatalf("%v in %s", err, answer)
	}
	if _, enveloped := body["request_id"]; status >= 400 && !enveloped && shape == "" {
		if _, ok := body["errors"].([]any); !ok || len(body) != 1 {
			t.Errorf("an error is %s", answer)
		}
	}
	for _, word := range strings.Fields(shape) {
		if problem := checkWord(body, word); problem != "" {
			t.Errorf("%s: %s in %.2000s", word, problem, answer)
		}
	}
}

var envelope = []string{"auth", "data", "lease_duration", "lease_id", "renewable", "request_id", "warnings", "wrap_info"}

func checkWord(body map[string]any, word string) string {
	switch word {
	case "envelope":
		if got := slices.Sorted(maps.Keys(body)); !slices.Equal(got, envelope) {
			return fmt.Sprint("keys ", got)
		}
		return ""
	case "flat":
		for name := range body["data"].(map[string]any) {
			if _, ok := body[name]; !ok {
				return name + " is not repeated"
			}
		}
		return ""
	case "bare":
		if _, ok := body["request_id"]; ok {
			return "there is an envelope"
		}
		return ""
	case "warn":
		if list, _ := body["warnings"].([]any); len(list) == 0 {
			return "no warnings"
		}
		return ""
	}
	if path, ok := strings.CutPrefix(word, "!"); ok {
		if _, there := dig(body, path); there {
			return "it is there"
		}
		return ""
	}
	if path, keys, ok := strings.Cut(strings.TrimSuffix(word, "}"), "{"); ok {
		v, _ := dig(body, path)
		m, _ := v.(map[string]any)
		want := strings.Split(keys, ",")
		slices.Sort(want)
		if got := slices.Sorted(maps.Keys(m)); !slices.Equal(got, want) {
			return fmt.Sprint("keys ", got)
		}
		return ""
	}
	return checkValue(body, word)
}

func checkValue(body map[string]any, word string) string {
	if path, want, ok := strings.Cut(word, "="); ok {
		v, _ := dig(body, path)
		text, _ := json.Marshal(v)
		if got := strings.Trim(string(text), `"`); got != want {
			return "it is " + got
		}
		return ""
	}
	path, kind, _ := strings.Cut(word, ":")
	v, there := dig(body, path)
	if !there {
		return "it is missing"
	}
	if got := kindOf(v); got != kind && !(kind == "str" && got == "time") {
		return fmt.Sprintf("it is %s: %v", got, v)
	}
	return ""
}

func dig(v any, path string) (any, bool) {
	for path != "" {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, false
		}
		if v, ok = m[path]; ok { // names may hold dots
			return v, true
		}
		name, rest, _ := strings.Cut(path, ".")
		if v, ok = m[name]; !ok {
			return nil, false
		}
		path = rest
	}
	return v, true
}

func kindOf(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "bool"
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return "float"
		}
		return "int"
	case []any:
		return "list"
	case map[string]any:
		return "map"
	case string:
		if _, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return "time"
		}
	}
	return "str"
}

// TestConformWire holds the rules every endpoint shares.
func TestConformWire(t *testing.T) {
	w := newWorld(t)
	w.ok("POST", "sys/mounts/one", w.root, `{"type":"kv"}`)
	w.ok("POST", "secret/data/a", w.root, `{"data":{"n":9007199254740993,"d":1.10}}`)
	w.ok("POST", "secret/data/b/c", w.root, `{"data":{}}`)
	w.ok("POST", "secret/data/b/d/e", w.root, `{"data":{}}`)
	tokens := map[string]string{"reader": w.token(`path "secret/data/a" { capabilities = ["read"] }
path "secret/metadata/*" { capabilities = ["list"] }`, "")}
	conform(t, w, tokens, []row{
		{does: "GET secret/data/a", status: 200, shape: "envelope lease_id:str lease_duration:int renewable:bool wrap_info:null auth:null warnings:null data.data.n=9007199254740993 data.data.d=1.10"},
		{does: "PUT sys/policies/acl/p", body: `{"policy":"path \"x\" {}"}`, status: 204, shape: "empty"},
		{does: "GET secret/data/none", status: 404, has: `{"errors":[]}`},
		{does: "LIST secret/metadata/none", status: 404, has: `{"errors":[]}`},
		{does: "GET secret/data/a", token: "-", status: 403, has: "permission denied"},
		{does: "GET secret/data/b/c", token: "reader", status: 403, has: "permission denied"},
		{does: "GET nowhere/at/all", token: "reader", status: 403, has: "permission denied"},
		{does: "GET nowhere/at/all", status: 404, has: "no handler for route"},
		{does: "POST auth/nowhere/login", token: "-", body: `{}`, status: 403, has: "permission denied"},
		{does: "DELETE sys/seal-status", status: 405, has: `{"errors":[]}`},
		{does: "DELETE secret/data/none", status: 204, shape: "empty"},
		{does: "DELETE sys/mounts/none", status: 204, shape: "empty"},
		// Lists.
		{does: "LIST secret/metadata", status: 200, shape: `envelope data.keys=["a","b/"]`},
		{does: "GET secret/metadata?list=true", status: 200, shape: `data.keys=["a","b/"]`},
		{does: "GET secret/metadata/?list=1", status: 200, shape: `data.keys=["a","b/"]`},
		{does: "GET secret/metadata?list=true&after=a", status: 200, shape: `data.keys=["b/"]`},
		{does: "GET secret/metadata?list=true&limit=1", status: 200, shape: `data.keys=["a"]`},
		{does: "LIST secret/metadata?after=a&limit=5", status: 200, shape: `data.keys=["b/"]`},
		{does: "LIST secret/metadata?after=z", status: 404},
		{does: "LIST secret/metadata?limit=x", status: 400},
		{does: "SCAN secret/metadata", status: 200, shape: `data.keys=["a","b/c","b/d/e"]`},
		{does: "GET secret/metadata/b?scan=true", status: 200, shape: `data.keys=["c","d/e"]`},
		{does: "SCAN secret/metadata", token: "reader", status: 403},
		{does: "GET secret/metadata?list=true&scan=true", status: 400},
		{does: "LIST sys/policies/acl?after=node&limit=1", status: 200, shape: `data.keys=["p"]`},
		// Writes.
		{does: "POST one/x/", body: `{"a":1}`, status: 400, has: "cannot write to a path ending in '/'"},
		{does: "POST sys/mounts/x/", body: `{"type":"kv"}`, status: 400, has: "cannot write to a path ending in '/'"},
		{does: "POST one/a..b", body: `{"a":1}`, status: 400},
		{does: "POST one/a%07", body: `{"a":1}`, status: 400},
		{does: "POST one/form", body: "a=b&c=1", header: []string{"Content-Type", "application/x-www-form-urlencoded"}, status: 204},
		{does: "GET one/form", status: 200, shape: "data.a=b data.c=1 data{a,c}"},
		{does: "POST one/json", body: `{"a":1}`, header: []string{"Content-Type", "application/x-www-form-urlencoded"}, status: 204},
		{does: "GET one/json", status: 200, shape: "data.a=1"},
		{does: "POST secret/data/dup", body: `{"path":"other","data":{}}`, status: 200, shape: "warn", has: "replaced the value of these parameters with the values captured"},
		{does: "GET secret/metadata/other", status: 404},
		{does: "POST secret/data/dup", body: `{"data":{},"strange":1}`, status: 200, shape: "warn", has: "Endpoint ignored these unrecognized parameters: [strange]"},
		{does: "POST secret/metadata/dup", body: `{"strange":1}`, status: 204, shape: "empty"},
		{does: "PATCH secret/data/a", body: `{"data":{"x":1}}`, status: 415},
		{does: "PATCH secret/data/a", body: `{"data":{"x":1}}`, header: []string{"Content-Type", "application/json"}, status: 415},
		{does: "PATCH secret/data/a", body: `{"data":{"x":1,"d":null}}`, header: mergePatch, status: 200, shape: "data.version=2"},
		{does: "GET secret/data/a", status: 200, shape: "data.data{n,x}"},
		{does: "POST one/none", body: "", status: 400, has: "missing data fields"},
		{does: "POST one/bad", body: "{", status: 400, has: "error parsing JSON"},
		// Headers.
		{does: "GET secret/data/a", token: "-", header: []string{"Authorization", "Bearer " + w.root}, status: 200},
		{does: "GET secret/data/a", header: []string{"Authorization", "Basic eDp5"}, status: 200},
		{does: "GET secret/data/a", header: []string{"X-Vault-Wrap-TTL", "1m"}, status: 200, shape: "envelope data:null request_id= wrap_info{accessor,creation_path,creation_time,token,ttl} wrap_info.ttl=60 wrap_info.creation_path=secret/data/a wrap_info.creation_time:time"},
		{does: "GET secret/data/a", header: []string{"X-Vault-Wrap-TTL", "60"}, status: 200, shape: "wrap_info.ttl=60"},
		{does: "GET secret/data/a", header: []string{"X-Vault-Wrap-TTL", "1d"}, status: 200, shape: "wrap_info.ttl=86400"},
		{does: "GET secret/data/a", header: []string{"X-Vault-Wrap-TTL", "-1"}, status: 400},
		{does: "GET secret/data/none", header: []string{"X-Vault-Wrap-TTL", "60"}, status: 404},
		{does: "PUT sys/policies/acl/p", body: `{"policy":"path \"x\" {}"}`, header: []string{"X-Vault-Wrap-TTL", "60"}, status: 204},
		{does: "POST auth/token/create", body: `{}`, header: []string{"X-Vault-Wrap-TTL", "60"}, status: 200, shape: "auth:null wrap_info.wrapped_accessor:str"},
		{does: "GET secret/data/a", header: []string{"X-Vault-Namespace", "team"}, status: 404},
		{does: "GET secret/data/a", header: []string{"X-Vault-Namespace", "root"}, status: 200},
		{does: "GET sys/health", header: []string{"X-Vault-Namespace", "team"}, status: 400},
		{does: "GET sys/init", header: []string{"X-Vault-Namespace", "root/"}, status: 400},
		{does: "GET secret/data/a", header: []string{"X-Vault-Request", "true"}, status: 200},
		// Help.
		{does: "GET secret/data/a?help=1", status: 200, shape: "bare help:str see_also:null openapi:map"},
		{does: "GET secret/data/a?help=1", token: "-", status: 403},
		{does: "GET sys/mounts?help=1", status: 200, shape: "bare help:str"},
		{does: "GET secret?help=1", status: 200, shape: "bare help:str"},
		{does: "GET sys/?help=1", status: 200, shape: "bare help:str"},
		{does: "GET none?help=1", status: 404},
		{does: "GET cubbyhole/x?help=1", status: 200, shape: "bare help:str"},
		{does: "GET one/x?help=1", status: 200, shape: "bare help:str"},
	})
}

// TestConformKV holds what both versions of kv and cubbyholes do.
// TestConformOthers: what foreign clients' own tests ask of the other engines.
func TestConformOthers(t *testing.T) {
	w := newWorld(t)
	w.ok("POST", "sys/mounts/transit", w.root, `{"type":"transit"}`)
	w.ok("POST", "transit/keys/rsa", w.root, `{"type":"rsa-2048"}`)
	w.ok("POST", "transit/keys/k", w.root, `{"exportable":true,"allow_plaintext_backup":true}`)
	backup := w.call(200, "GET", "transit/backup/k", w.root, "").Data["backup"].(string)
	w.ok("POST", "identity/group", w.root, `{"name":"g","type":"external"}`)
	conform(t, w, nil, []row{
		{does: "GET transit/backup/rsa", status: 500, has: "exporting is disallowed on the policy"},
		{does: "POST transit/restore", body: `{"backup":"` + backup + `"}`, status: 500, has: `key \"k\" already exists`},
		{does: "POST transit/restore", body: `{"backup":"` + backup + `","force":true}`, status: 204},
		{does: "POST transit/sign/rsa", body: `{"input":"YQ==","salt_length":"-1"}`, status: 200},
		{does: "POST transit/sign/rsa", body: `{"input":"YQ==","salt_length":0}`, status: 200},
		{does: "POST transit/sign/rsa", body: `{"input":"YQ==","salt_length":"-2"}`, status: 400, has: "salt length is invalid"},
		{does: "GET identity/group/name/g", status: 200, shape: "data.member_entity_ids:null data.member_group_ids:null data.policies:null data.type=external"},
	})
}

func TestConformKV(t *testing.T) {
	w := newWorld(t)
	w.ok("POST", "sys/mounts/one", w.root, `{"type":"kv"}`)
	conform(t, w, nil, []row{
		{does: "PUT cubbyhole/a/b", body: `{"k":1}`, status: 204},
		{does: "GET cubbyhole/a/b", status: 200, shape: "data{k} data.k=1 lease_id:str lease_duration=0"},
		{does: "LIST cubbyhole", status: 200, shape: `data.keys=["a/"]`},
		{does: "SCAN cubbyhole", status: 200, shape: `data.keys=["a/b"]`},
		{does: "DELETE cubbyhole/a/b", status: 204},
		{does: "GET cubbyhole/a/b", status: 404},
		// Version 1.
		{does: "PUT one/a", body: `{"k":"v","ttl":"1h","n":1.10}`, status: 204},
		{does: "GET one/a", status: 200, shape: "data{k,n,ttl} data.n=1.10 lease_duration=3600 lease_id= renewable=false"},
		{does: "PUT one/b", body: `{"k":"v"}`, status: 204},
		{does: "GET one/b", status: 200, shape: "lease_duration=2764800"},
		{does: "PUT one/b", body: `{}`, status: 400},
		{does: "PUT one/c/d", body: `{"k":"v"}`, status: 204},
		{does: "LIST one", status: 200, shape: `data.keys=["a","b","c/"]`},
		{does: "SCAN one", status: 200, shape: `data.keys=["a","b","c/d"]`},
		{does: "DELETE one/a", status: 204},
		{does: "GET one/a", status: 404},
		// Version 2.
		{does: "GET secret/config", status: 200, shape: "data.max_versions=0 data.cas_required=false data.delete_version_after=0s"},
		{does: "POST secret/data/a", body: `{"options":{}}`, status: 400, has: "no data provided"},
		{does: "POST secret/data/a", body: `{"data":{"k":"v","deep":{"x":1,"y":{"z":2}}},"options":{"cas":0}}`, status: 200, shape: "data{created_time,custom_metadata,deletion_time,destroyed,version} data.version=1 data.created_time:time data.deletion_time= data.destroyed=false data.custom_metadata:null"},
		{does: "POST secret/data/a", body: `{"data":{},"options":{"cas":0}}`, status: 400, has: "check-and-set parameter did not match the current version"},
		{does: "POST secret/data/a", body: `{"data":{},"options":{"cas":-1}}`, status: 400, has: "check-and-set parameter did not match the current version"},
		{does: "POST secret/data/a", body: `{"data":{"k":"w"},"options":{"cas":"1"}}`, status: 200, shape: "data.version=2"},
		{does: "GET secret/data/a", status: 200, shape: "data{data,metadata} data.data.k=w data.metadata.version=2"},
		{does: "GET secret/data/a?version=1", status: 200, shape: "data.data.k=v data.metadata.version=1"},
		{does: "GET secret/data/a?version=0", status: 200, shape: "data.metadata.version=2"},
		{does: "GET secret/data/a?version=9", status: 404, has: `{"errors":[]}`},
		{does: "GET secret/subkeys/a?version=1", status: 200, shape: "data.subkeys.deep.y.z:null data.metadata.version=1"},
		{does: "GET secret/subkeys/a?version=1&depth=1", status: 200, shape: "data.subkeys.deep:null"},
		{does: "GET secret/subkeys/a?version=1&depth=2", status: 200, shape: "data.subkeys.deep.y:null"},
		{does: "GET secret/subkeys/a?depth=x", status: 400},
		{does: "PATCH secret/data/a", body: `{"data":{"n":1},"options":{"cas":1}}`, header: mergePatch, status: 400},
		{does: "PATCH secret/data/a", body: `{"data":{"n":1},"options":{"cas":2}}`, header: mergePatch, status: 200, shape: "data.version=3"},
		{does: "PATCH secret/data/none", body: `{"data":{"n":1}}`, header: mergePatch, status: 404},
		{does: "DELETE secret/data/a", status: 204},
		{does: "GET secret/data/a", status: 404, shape: "envelope data.data:null data.metadata.deletion_time:time data.metadata.destroyed=false data.metadata.version=3"},
		{does: "GET secret/subkeys/a", status: 404, shape: "data.subkeys:null"},
		{does: "PATCH secret/data/a", body: `{"data":{"n":1}}`, header: mergePatch, status: 404},
		{does: "POST secret/undelete/a", body: `{"versions":["3"]}`, status: 204},
		{does: "GET secret/data/a", status: 200, shape: "data.data.n=1"},
		{does: "POST secret/undelete/a", body: `{"versions":[]}`, status: 400, has: "No version number provided"},
		{does: "POST secret/delete/a", body: `{}`, status: 400},
		{does: "POST secret/delete/a", body: `{"versions":[1,99]}`, status: 204},
		{does: "POST secret/destroy/a", body: `{"versions":"2"}`, status: 204},
		{does: "GET secret/data/a?version=2", status: 404, shape: "data.metadata.destroyed=true"},
		{does: "POST secret/undelete/a", body: `{"versions":[2]}`, status: 204},
		{does: "GET secret/data/a?version=2", status: 404},
		{does: "GET secret/metadata/a", status: 200, shape: "data{cas_required,created_time,current_metadata_version,current_version,custom_metadata,delete_version_after,max_versions,metadata_cas_required,oldest_version,updated_time,versions} data.versions.1{created_time,deletion_time,destroyed} data.current_version=3 data.oldest_version=0 data.delete_version_after=0s data.custom_metadata:null"},
		{does: "POST secret/metadata/a", body: `{"max_versions":2,"cas_required":true,"delete_version_after":"1h","custom_metadata":{"a":"b"}}`, status: 204},
		{does: "GET secret/metadata/a", status: 200, shape: "data.max_versions=2 data.cas_required=true data.delete_version_after=1h0m0s data.custom_metadata{a} data.current_metadata_version=1"},
		{does: "POST secret/data/a", body: `{"data":{}}`, status: 400, has: "check-and-set parameter required for this call"},
		{does: "POST secret/data/a", body: `{"data":{},"options":{"cas":3}}`, status: 200, shape: "data.version=4 data.deletion_time:time data.custom_metadata.a=b"},
		{does: "PATCH secret/metadata/a", body: `{"custom_metadata":{"a":null,"c":"d"},"cas_required":false}`, header: mergePatch, status: 204},
		{does: "PATCH secret/metadata/a", body: `{"custom_metadata":{"a":"b"},"metadata_cas":1}`, header: mergePatch, status: 400},
		{does: "PATCH secret/metadata/a", body: `{"custom_metadata":{"a":{"b":1}}}`, header: mergePatch, status: 400},
		{does: "PATCH secret/metadata/none", body: `{}`, header: mergePatch, status: 404},
		{does: "GET secret/metadata/a", status: 200, shape: "data.custom_metadata{c} data.cas_required=false"},
		{does: "POST secret/metadata/a", body: `{"custom_metadata":{"x":"` + strings.Repeat("v", 513) + `"}}`, status: 400},
		{does: "POST secret/metadata/a", body: `{"custom_metadata":{"` + strings.Repeat("k", 129) + `":"v"}}`, status: 400},
		{does: "POST secret/metadata/empty", body: `{"max_versions":3}`, status: 204},
		{does: "GET secret/data/empty", status: 404},
		{does: "GET secret/metadata/empty", status: 200, shape: "data.current_version=0 data.versions:map"},
		{does: "LIST secret/metadata", status: 200, shape: `data.keys=["a","empty"]`},
		{does: "LIST secret/detailed-metadata", status: 200, shape: `data.keys=["a","empty"] data.key_info.a.current_version=4`},
		{does: "LIST secret/detailed-metadata?limit=1", status: 200, shape: `data.keys=["a"] data.key_info{a}`},
		{does: "SCAN secret/detailed-metadata", status: 200, shape: `data.key_info.a:map`},
		{does: "DELETE secret/metadata/a", status: 204},
		{does: "GET secret/metadata/a", status: 404},
		{does: "DELETE secret/metadata/a", status: 204},
		{does: "POST secret/config", body: `{"max_versions":5,"cas_required":true,"delete_version_after":"3h25m19s"}`, status: 204},
		{does: "GET secret/config", status: 200, shape: "data.max_versions=5 data.cas_required=true data.delete_version_after=3h25m19s"},
		{does: "POST secret/data/z", body: `{"data":{}}`, status: 400, has: "check-and-set parameter required"},
		{does: "GET secret/a", status: 404, shape: "warn"},
		{does: "POST secret/a", body: `{"k":"v"}`, status: 404, shape: "warn"},
		// TOTP.
		{does: "POST sys/mounts/totp", body: `{"type":"totp"}`, status: 204},
		{does: "POST totp/keys/k", body: `{"generate":true,"issuer":"i","account_name":"a@b"}`, status: 200, shape: "data{barcode,url}"},
		{does: "GET totp/keys/k", status: 200, shape: "data{account_name,algorithm,digits,issuer,period} data.period=30s data.digits=6 data.algorithm=SHA1"},
		{does: "LIST totp/keys", status: 200, shape: `data.keys=["k"]`},
		{does: "GET totp/code/k", status: 200, shape: "data{code}"},
		{does: "POST totp/code/k", body: `{"code":"x"}`, status: 200, shape: "data.valid=false"},
		{does: "GET totp/code/none", status: 400},
		{does: "GET totp/keys/none", status: 404},
		{does: "DELETE totp/keys/k", status: 204},
	})
}
