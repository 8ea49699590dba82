// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/client"
)

// tell calls what is about notifications: a test message to a webhook, and its
// record. The key of its signature comes from a KV engine.
func (c *caller) tell() {
	t := c.t
	signed := make(chan string, 1)
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { signed <- r.Header.Get("Goldkeep-Signature") }))
	defer hook.Close()
	ok(t, c.Do(t.Context(), "POST", "/v1/secret/data/notify/chat", map[string]any{"data": map[string]string{"key": "k"}}, nil))
	apply(t, c.world, "apiVersion: goldkeep.dev/v1\nkind: Notification\nmetadata: {name: chat, owner: team}\nspec:\n"+
		"  webhook: {url: "+hook.URL+"/hidden, insecurePlainHTTP: true, secret: {kv: notify/chat, field: key}}\n")
	all := decode[struct{ Items []client.Notification }](t, c.call("GET /api/v1/notifications", c.root, nil)).Items
	if len(all) != 1 || all[0].Target != "json webhook at "+strings.TrimPrefix(hook.URL, "http://") {
		t.Errorf("notifications %+v", all)
	}
	sent := decode[client.Delivery](t, c.call("POST /api/v1/notifications/{name}/test", c.root, map[string]string{}, "chat"))
	if sent.State != "sent" || !strings.Contains(<-signed, ",v1=") {
		t.Errorf("delivery %+v", sent)
	}
	c.call("GET /api/v1/deliveries?state=sent&limit=1", c.root, nil)
	shown := decode[client.Delivery](t, c.call("GET /api/v1/deliveries/{id}", c.root, nil, sent.ID))
	if shown.Digest == nil || shown.Digest.Kind != "test" || shown.Digest.ID != sent.ID {
		t.Errorf("delivery %+v", shown)
	}
}

func TestANotificationReadsNothingButKV(t *testing.T) {
	w := newWorld(t)
	for _, mount := range []string{"sys", "auth/token", "cubbyhole", "api", "nowhere"} {
		apply(t, w, "apiVersion: goldkeep.dev/v1\nkind: Notification\nmetadata: {name: chat, owner: team}\nspec:\n"+
			"  webhook: {urlFrom: {mount: "+mount+", kv: x, field: y}}\n")
		if _, err := w.TestNotification(t.Context(), "chat"); err == nil || !strings.Contains(err.Error(), "no KV engine") {
			t.Errorf("%s: %v", mount, err)
		}
	}
	w.refused(http.StatusNotFound, "POST", "/api/v1/notifications/none/test", w.root, "{}")
	w.refused(http.StatusBadRequest, "GET", "/api/v1/deliveries?state=lost", w.root, "")
}

// apply declares documents.
func apply(t testing.TB, w *world, text string) {
	t.Helper()
	_, err := w.Apply(t.Context(), client.PlanRequest{Documents: []client.Document{{File: "n.yaml", Text: text}}})
	ok(t, err)
}
