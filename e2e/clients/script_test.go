// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// request is one line of a script, with the lines that belong to it:
//
//	POST sys/wrapping/wrap {"a":1}
//	  as NAME             with a token saved before; "-" with none; root without this line
//	  header NAME: VALUE
//	  save NAME PATH      keeps a field of the answer; {{NAME}} stands for it below
//	  differs PATH why    this field is not as the reference has it, on purpose
type request struct {
	id           string // file and number within it
	method, path string
	body, as     string
	headers      [][2]string
	save         [][2]string
	differs      map[string]string
}

// readScripts reads every script, in the order of the names.
func readScripts(t *testing.T) map[string][]request {
	t.Helper()
	names := must(filepath.Glob("testdata/requests/*.txt"))(t)
	all := map[string][]request{}
	for _, name := range names {
		script := strings.TrimSuffix(filepath.Base(name), ".txt")
		text := string(must(os.ReadFile(name))(t))
		for n, line := range strings.Split(text, "\n") {
			if err := readLine(all, script, line); err != nil {
				t.Fatalf("%s:%d: %v", name, n+1, err)
			}
		}
	}
	return all
}

func readLine(all map[string][]request, script, line string) error {
	switch {
	case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
		return nil
	case !strings.HasPrefix(line, " "):
		method, rest, _ := strings.Cut(line, " ")
		path, body, _ := strings.Cut(rest, " ")
		r := request{method: method, path: path, body: body, as: "root", differs: map[string]string{}}
		r.id = fmt.Sprintf("%s/%03d %s %s", script, len(all[script])+1, method, path)
		all[script] = append(all[script], r)
		return nil
	case len(all[script]) == 0:
		return errors.New("it belongs to no request")
	}
	r := &all[script][len(all[script])-1]
	word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	first, second, _ := strings.Cut(rest, " ")
	switch word {
	case "as":
		r.as = rest
	case "header":
		r.headers = append(r.headers, [2]string{strings.TrimSuffix(first, ":"), second})
	case "save":
		r.save = append(r.save, [2]string{first, second})
	case "differs":
		r.differs[first] = second
	default:
		return fmt.Errorf("no such word: %s", word)
	}
	return nil
}

// reply is what is compared of an answer.
type reply struct {
	ID     string `json:"request"`
	Status int    `json:"status"`
	Type   string `json:"type,omitempty"`
	Cache  string `json:"cache,omitempty"`
	Body   any    `json:"body,omitempty"`
}

// player plays one script on one server.
type player struct {
	url  string
	vars map[string]string
}

// newPlayer plays scripts on the server at an address.
func newPlayer(url string) *player {
	return &player{url: url, vars: map[string]string{"root": "root", "server": url}}
}

func (p *player) fill(s string) string {
	for _, name := range slices.Sorted(maps.Keys(p.vars)) {
		s = strings.ReplaceAll(s, "{{"+name+"}}", p.vars[name])
	}
	return s
}

func (p *player) play(t *testing.T, r request) reply {
	t.Helper()
	req := must(http.NewRequestWithContext(t.Context(), r.method, p.url+"/v1/"+p.fill(r.path), strings.NewReader(p.fill(r.body))))(t)
	if r.as != "-" {
		req.Header.Set("X-Vault-Token", p.fill("{{"+r.as+"}}"))
	}
	for _, h := range r.headers {
		req.Header.Set(h[0], p.fill(h[1]))
	}
	resp := must(http.DefaultTransport.RoundTrip(req))(t)
	defer func() { _ = resp.Body.Close() }()
	raw := must(io.ReadAll(resp.Body))(t)
	got := reply{ID: r.id, Status: resp.StatusCode, Type: resp.Header.Get("Content-Type"), Cache: resp.Header.Get("Cache-Control")}
	if len(raw) == 0 {
		return got
	}
	body, err := decode(raw)
	if err != nil {
		got.Body = string(raw)
		return got
	}
	for _, s := range r.save {
		p.vars[s[0]] = field(body, s[1])
	}
	got.Body = p.plain("", body)
	return got
}

func decode(raw []byte) (any, error) {
	var v any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	err := d.Decode(&v)
	return v, err
}

// field is a value below v, as text.
func field(v any, path string) string {
	for _, part := range strings.Split(path, ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[part]
		case []any:
			var i int
			if _, err := fmt.Sscan(part, &i); err != nil || i >= len(at) {
				return ""
			}
			v = at[i]
		}
	}
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// chance are the fields whose value no two servers share: only that there is
// one, and its type, is compared.
var chance = map[string]bool{
	"request_id": true, "accessor": true, "client_token": true, "token": true, "wrapped_accessor": true,
	"creation_time": true, "created_time": true, "updated_time": true, "deletion_time": true, "expire_time": true, "issue_time": true,
	"last_renewal": true, "last_renewal_time": true, "uuid": true, "id": true, "entity_id": true, "nonce": true, "ciphertext": true, "hmac": true, "signature": true,
	"random_bytes": true, "role_id": true, "secret_id": true, "secret_id_accessor": true, "public_key": true, "backup": true,
	"install_time": true, "encryptions": true, "cluster_id": true, "cluster_name": true, "build_date": true, "version": true, "otp": true,
	"server_time_utc": true, "plaintext_key": true, "barcode": true, "url": true, "code": true, "hash": true,
	"running_plugin_version": true, "running_sha256": true, "key": true, "canonical_id": true, "last_update_time": true,
	"root_token": true, "migration_id": true, "keys_shares": true, "certificate": true, "serial_number": true,
	"client_id": true, "client_secret": true, "access_token": true, "id_token": true, "method_id": true, "mfa_request_id": true, "sub": true,
	"otp_length": true, "time": true, "timestamp": true, "timestamp_installed": true, "lease_id": true, "wrapped_token": true, "bound_key": true, "mount_accessor": true,
	"last_updated_time": true, "expiration_time": true,
}

// uuid is a name that chance gave.
var uuid = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)

// plain is v with the work of chance taken out.
func (p *player) plain(name string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			out[uuid.ReplaceAllString(p.name(k), "<uuid>")] = p.plain(k, e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = p.plain("", e)
		}
		return out
	case string:
		if v != "" && v != "<number>" && (chance[name] || len(name) == 1 && name[0] <= '9') { // a version of a key
			return "<text>"
		}
		if one, ok := strings.CutPrefix(v, "1 error occurred:\n\t* "); ok { // a form OpenBao and Vault use here and there
			v = strings.TrimSpace(one)
		}
		return uuid.ReplaceAllString(p.name(v), "<uuid>")
	case json.Number:
		if chance[name] || len(v) == 10 && strings.HasPrefix(v.String(), "1") { // a time
			return "<number>"
		}
	}
	return v
}

// name writes the names of what was saved in place of it.
func (p *player) name(s string) string {
	for _, name := range slices.Sorted(maps.Keys(p.vars)) {
		if value := p.vars[name]; len(value) > 8 {
			s = strings.ReplaceAll(s, value, "{{"+name+"}}")
		}
	}
	return s
}

// differences lists where got is not want, by field.
func differences(at string, want, got any) map[string]string {
	out := map[string]string{}
	wm, ok1 := want.(map[string]any)
	gm, ok2 := got.(map[string]any)
	wl, ok3 := want.([]any)
	gl, ok4 := got.([]any)
	switch {
	case ok1 && ok2:
		for _, k := range slices.Sorted(maps.Keys(wm)) {
			if e, ok := gm[k]; ok {
				maps.Copy(out, differences(at+"."+k, wm[k], e))
			} else {
				out[at+"."+k] = "missing: " + show(wm[k])
			}
		}
		for k := range gm {
			if _, ok := wm[k]; !ok {
				out[at+"."+k] = "more: " + show(gm[k])
			}
		}
	case ok3 && ok4 && len(wl) == len(gl):
		for i := range wl {
			maps.Copy(out, differences(fmt.Sprint(at, ".", i), wl[i], gl[i]))
		}
	case near(want, got):
	default:
		if w, g := show(want), show(got); w != g {
			out[at] = fmt.Sprintf("is %s, the reference has %s", g, w)
		}
	}
	return out
}

// near forgives some seconds of what is left of a lifetime.
func near(want, got any) bool {
	w, ok1 := want.(json.Number)
	g, ok2 := got.(json.Number)
	if !ok1 || !ok2 {
		return false
	}
	wi, err1 := w.Int64()
	gi, err2 := g.Int64()
	return err1 == nil && err2 == nil && wi > 20 && max(wi, gi)-min(wi, gi) < 5
}

func show(v any) string {
	raw, _ := json.Marshal(v) // it came from JSON
	if len(raw) > 300 {
		raw = append(raw[:300], "..."...)
	}
	return string(raw)
}
