// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// accessor is that of an auth mount.
func (w *world) accessor(mount string) string {
	w.t.Helper()
	return w.call(200, "GET", "sys/auth", w.root, "").Data[mount+"/"].(map[string]any)["accessor"].(string)
}

// login makes a user and logs in as them.
func (w *world) login(name string) answer {
	w.t.Helper()
	w.call(204, "POST", "auth/userpass/users/"+name, w.root, `{"password":"planted-password"}`)
	return w.call(200, "POST", "auth/userpass/login/"+name, "", `{"password":"planted-password"}`)
}

func texts(v any) (list []string) {
	items, _ := v.([]any)
	for _, item := range items {
		list = append(list, item.(string))
	}
	return list
}

// TestEntityOfALogin: whoever logs in is somebody, the same one each time; what
// people write of them counts at once, also for tokens given before.
func TestEntityOfALogin(t *testing.T) {
	w := enabled(t)
	first, again := w.login("bob"), w.login("bob")
	self := w.call(200, "GET", "auth/token/lookup-self", first.Auth.Token, "").Data
	id := self["entity_id"].(string)
	if id == "" || w.call(200, "GET", "auth/token/lookup-self", again.Auth.Token, "").Data["entity_id"] != id {
		t.Fatalf("entity: %v", self)
	}
	e := w.call(200, "GET", "identity/entity/id/"+id, w.root, "").Data
	alias := e["aliases"].([]any)[0].(map[string]any)
	if alias["name"] != "bob" || alias["mount_accessor"] != w.accessor("userpass") || alias["mount_path"] != "auth/userpass/" || alias["canonical_id"] != id {
		t.Errorf("alias: %v", alias)
	}
	w.call(403, "GET", "secret/data/x", first.Auth.Token, "")
	w.call(204, "POST", "identity/entity/id/"+id, w.root, `{"policies":["Reader"],"metadata":{"team":"a"}}`)
	w.call(200, "GET", "secret/data/x", first.Auth.Token, "")
	self = w.call(200, "GET", "auth/token/lookup-self", first.Auth.Token, "").Data
	if !slices.Equal(texts(self["identity_policies"]), []string{"reader"}) || !slices.Equal(texts(self["policies"]), []string{"default"}) {
		t.Errorf("lookup: %v", self)
	}
	if a := w.login("bob").Auth; a.Entity != id || strings.Join(a.Policies, " ") != "default reader" || strings.Join(a.Identity, " ") != "reader" || strings.Join(a.Own, " ") != "default" {
		t.Errorf("login: %+v", a)
	}
	caps := w.call(200, "POST", "sys/capabilities", w.root, `{"token":"`+first.Auth.Token+`","path":"secret/data/x"}`).Data
	if !slices.Equal(texts(caps["capabilities"]), []string{"read"}) {
		t.Errorf("capabilities: %v", caps)
	}
	w.call(204, "POST", "identity/entity/id/"+id, w.root, `{"disabled":true}`)
	w.call(403, "GET", "secret/data/x", first.Auth.Token, "")
	w.call(403, "POST", "auth/userpass/login/bob", "", `{"password":"planted-password"}`)
	w.call(204, "POST", "identity/entity/id/"+id, w.root, `{"disabled":false}`)
	w.call(200, "GET", "secret/data/x", first.Auth.Token, "")
	w.call(204, "DELETE", "identity/entity/id/"+id, w.root, "")
	w.call(403, "GET", "secret/data/x", first.Auth.Token, "")
	if fresh := w.login("bob").Auth.Entity; fresh == "" || fresh == id {
		t.Errorf("after the deletion: %q", fresh)
	}
}

// TestEntities is the life of entities as clients see it.
func TestEntities(t *testing.T) {
	w := enabled(t)
	w.call(404, "LIST", "identity/entity/id", w.root, "")
	w.call(404, "GET", "identity/entity/id/None", w.root, "")
	w.call(204, "DELETE", "identity/entity/id/None", w.root, "")
	made := w.call(200, "POST", "identity/entity", w.root, `{"name":"Bob","metadata":{"a":"b"}}`).Data
	id := made["id"].(string)
	w.call(204, "POST", "identity/entity", w.root, `{"name":"bob","id":"`+id+`"}`)
	w.call(204, "POST", "identity/entity", w.root, `{"name":"bob"}`)
	w.call(204, "POST", "identity/entity/name/Bob", w.root, `{"metadata":["x=y","z=1"]}`)
	read := w.call(200, "GET", "identity/entity/name/BOB", w.root, "").Data
	if read["id"] != id || fmt.Sprint(read["metadata"]) != "map[x:y z:1]" || read["disabled"] != false {
		t.Errorf("read: %v", read)
	}
	if keys := texts(w.call(200, "LIST", "identity/entity/name", w.root, "").Data["keys"]); !slices.Equal(keys, []string{"Bob"}) {
		t.Errorf("names: %q", keys)
	}
	other := w.call(200, "POST", "identity/entity/name/eve", w.root, `{}`).Data["id"].(string)
	for _, body := range []string{
		`{"name":"bob","id":"` + other + `"}`, `{"name":"x","policies":["root"]}`, `{"id":"nobody"}`, `{"name":"x","metadata":"nonsense"}`,
	} {
		w.call(400, "POST", "identity/entity", w.root, body)
	}
	accessor := w.accessor("approle")
	if a := w.call(400, "POST", "identity/entity-alias", w.root, `{"name":"al","canonical_id":"`+id+`","mount_accessor":"not a valid accessor"}`); !a.says("invalid mount accessor") {
		t.Errorf("unknown accessor: %v", a.Errors)
	}
	alias := w.call(200, "POST", "identity/entity-alias", w.root, `{"name":"al","canonical_id":"`+id+`","mount_accessor":"`+accessor+`"}`).Data
	aliasID := alias["id"].(string)
	if alias["canonical_id"] != id {
		t.Errorf("alias: %v", alias)
	}
	w.call(400, "POST", "identity/entity-alias", w.root, `{"name":"al2","canonical_id":"`+id+`","mount_accessor":"`+accessor+`"}`)
	w.call(200, "POST", "identity/entity-alias/id/"+aliasID, w.root, `{"canonical_id":"`+other+`"}`)
	if who := w.call(200, "POST", "identity/lookup/entity", w.root, `{"alias_name":"AL","alias_mount_accessor":"`+accessor+`"}`).Data; who["id"] != other {
		t.Errorf("moved: %v", who)
	}
	w.call(204, "POST", "identity/lookup/entity", w.root, `{"id":"nobody"}`)
	w.call(400, "POST", "identity/lookup/entity", w.root, `{}`)
	w.call(400, "POST", "identity/lookup/entity", w.root, `{"alias_name":"x"}`)
	w.call(204, "POST", "identity/entity/merge", w.root, `{"to_entity_id":"`+id+`","from_entity_ids":["`+other+`"]}`)
	read = w.call(200, "GET", "identity/entity/id/"+id, w.root, "").Data
	if !slices.Equal(texts(read["merged_entity_ids"]), []string{other}) || len(read["aliases"].([]any)) != 1 {
		t.Errorf("merged: %v", read)
	}
	w.call(404, "GET", "identity/entity/id/"+other, w.root, "")
	if keys := texts(w.call(200, "GET", "identity/entity-alias/id?list=true", w.root, "").Data["keys"]); !slices.Equal(keys, []string{aliasID}) {
		t.Errorf("aliases: %q", keys)
	}
	w.call(204, "DELETE", "identity/entity-alias/id/"+aliasID, w.root, "")
	w.call(404, "GET", "identity/entity-alias/id/"+aliasID, w.root, "")
	w.call(204, "POST", "identity/entity/batch-delete", w.root, `{"entity_ids":["`+id+`","nobody"]}`)
	w.call(404, "LIST", "identity/entity/id", w.root, "")
}

// TestGroups: members have the policies of their groups, by way of groups too; no
// group is in itself.
func TestGroups(t *testing.T) {
	w := enabled(t)
	bob := w.login("bob").Auth
	inner := w.call(200, "POST", "identity/group", w.root, `{"name":"inner","member_entity_ids":["`+bob.Entity+`"]}`).Data["id"].(string)
	outer := w.call(200, "POST", "identity/group", w.root, `{"name":"outer","policies":["reader"],"member_group_ids":["`+inner+`"]}`).Data["id"].(string)
	w.call(200, "GET", "secret/data/x", bob.Token, "")
	if e := w.call(200, "GET", "identity/entity/id/"+bob.Entity, w.root, "").Data; !slices.Equal(texts(e["direct_group_ids"]), []string{inner}) ||
		!slices.Equal(texts(e["inherited_group_ids"]), []string{outer}) {
		t.Errorf("groups: %v", e)
	}
	if a := w.call(400, "POST", "identity/group/id/"+inner, w.root, `{"member_group_ids":["`+outer+`"]}`); !a.says("cyclic") {
		t.Errorf("a circle: %v", a.Errors)
	}
	w.call(400, "POST", "identity/group/id/"+inner, w.root, `{"member_group_ids":["`+inner+`"]}`)
	w.call(400, "POST", "identity/group/id/"+inner, w.root, `{"member_entity_ids":["nobody"]}`)
	if a := w.call(400, "POST", "identity/group/name/inner", w.root, `{"type":"external"}`); !a.says("group type cannot be changed") {
		t.Errorf("changed: %v", a.Errors)
	}
	w.call(204, "POST", "identity/group/name/inner", w.root, `{"metadata":{"a":"b"}}`)
	w.call(400, "POST", "identity/group", w.root, `{"type":"cosmic"}`)
	w.call(204, "POST", "identity/group/id/"+inner, w.root, `{"member_entity_ids":[]}`)
	w.call(403, "GET", "secret/data/x", bob.Token, "")
	w.call(204, "POST", "identity/group/id/"+inner, w.root, `{"member_entity_ids":["`+bob.Entity+`"]}`)
	w.call(200, "GET", "secret/data/x", bob.Token, "")
	w.call(204, "DELETE", "identity/group/name/outer", w.root, "")
	w.call(403, "GET", "secret/data/x", bob.Token, "")
	if g := w.call(200, "GET", "identity/group/id/"+inner, w.root, "").Data; g["parent_group_ids"] != nil || g["member_group_ids"] != nil {
		t.Errorf("after the outer group is gone: %v", g)
	}
}

// TestGroupAliases: an external group has one alias, and no members by hand.
func TestGroupAliases(t *testing.T) {
	w := enabled(t)
	accessor := w.accessor("approle")
	g := w.call(200, "POST", "identity/group", w.root, `{"name":"ext","type":"external"}`).Data["id"].(string)
	if read := w.call(200, "GET", "identity/group/id/"+g, w.root, "").Data; read["member_group_ids"] != nil || read["member_entity_ids"] != nil {
		t.Errorf("empty group: %v", read)
	}
	w.call(400, "POST", "identity/group/id/"+g, w.root, `{"member_entity_ids":["x"]}`)
	id := w.call(200, "POST", "identity/group-alias", w.root, `{"name":"devs","canonical_id":"`+g+`","mount_accessor":"`+accessor+`"}`).Data["id"].(string)
	same := w.call(200, "POST", "identity/group-alias", w.root, `{"id":"`+id+`","name":"devs","mount_accessor":"`+accessor+`"}`).Data
	if same["id"] != id || same["canonical_id"] != g {
		t.Errorf("the same again: %v", same)
	}
	w.call(400, "POST", "identity/group-alias", w.root, `{"name":"devs","mount_accessor":"`+accessor+`"}`)
	alone := w.call(200, "POST", "identity/group-alias", w.root, `{"name":"ops","mount_accessor":"`+accessor+`"}`).Data
	for _, by := range []string{`"alias_id":"` + id + `"`, `"name":"ext"`, `"id":"` + g + `"`, `"alias_name":"devs","alias_mount_accessor":"` + accessor + `"`} {
		found := w.call(200, "POST", "identity/lookup/group", w.root, `{`+by+`}`).Data
		if found["id"] != g || found["alias"].(map[string]any)["name"] != "devs" {
			t.Errorf("by %s: %v", by, found)
		}
	}
	w.call(204, "POST", "identity/lookup/group", w.root, `{"id":"nobody"}`)
	if keys := texts(w.call(200, "LIST", "identity/group-alias/id", w.root, "").Data["keys"]); len(keys) != 2 {
		t.Errorf("aliases: %q", keys)
	}
	w.call(204, "DELETE", "identity/group/id/"+alone["canonical_id"].(string), w.root, "")
	w.call(204, "DELETE", "identity/group-alias/id/"+id, w.root, "")
	w.call(404, "GET", "identity/group-alias/id/"+id, w.root, "")
	w.call(404, "LIST", "identity/group-alias/id", w.root, "")
}

// TestIdentityIsSealed: names of people and groups are not in the files.
func TestIdentityIsSealed(t *testing.T) {
	w := enabled(t)
	body, err := json.Marshal(map[string]any{"name": "planted-person", "metadata": map[string]string{"planted-key": "planted-value"}, "policies": []string{"planted-policy"}})
	w.must(err)
	w.call(200, "POST", "identity/entity", w.root, string(body))
	w.call(200, "POST", "identity/group", w.root, `{"name":"planted-group"}`)
	w.search([]string{"planted-person", "planted-key", "planted-value", "planted-policy", "planted-group"})
}
