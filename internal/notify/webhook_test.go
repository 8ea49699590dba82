// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package notify_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/goldkeep/goldkeep/internal/notify"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
)

func TestWebhooksStayOutside(t *testing.T) {
	for address, fine := range map[string]bool{
		"93.184.215.14:443": true, "[2606:2800:21f:cb07:6820:80da:af6b:8b2c]:443": true, "10.1.2.3:443": true, // allowed below
		"127.0.0.1:80": false, "[::1]:80": false, "10.2.0.1:80": false, "172.16.0.1:80": false, "192.168.1.1:80": false,
		"169.254.169.254:80": false, "[fe80::1%eth0]:80": false, "[fd00:ec2::254]:80": false, "[fc00::1]:80": false,
		"0.0.0.0:80": false, "[::]:80": false, "224.0.0.1:80": false, "255.255.255.255:80": false, "100.64.0.1:80": false,
		"[::ffff:127.0.0.1]:80": false, "[::ffff:169.254.169.254]:80": false, "[64:ff9b::a9fe:a9fe]:80": false, "[2002:7f00:1::]:80": false,
		"198.18.0.1:80": false, "240.0.0.1:80": false, "localhost:80": false, "": false,
	} {
		web := allowing(t, "10.1.0.0/16")
		if err := web.Control(address); (err == nil) != fine {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestAWebhookInsideIsNotCalled(t *testing.T) {
	r := newReceiver(t)
	w := newWorld(t, storetest.SQLite(t), func(o *notify.Options) { r.trusts(o); o.Web.Allow = nil })
	w.declare("n", "  webhook: {url: \""+strings.Replace(r.URL, "127.0.0.1", "localhost", 1)+"\"}\n")
	_, err := w.Service.Test(t.Context(), "n")
	if err == nil || !strings.Contains(err.Error(), "notifications.webhooks.allow") || len(r.got()) != 0 {
		t.Errorf("error %v, %d calls", err, len(r.got()))
	}
}

func TestTheStoreDoesNotHoldWhereItGoes(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t), nil)
	w.declare("n", "  webhook: {url: https://hooks.example.com/T0/verysecret, secret: {kv: notify/hidden-name, field: key}}\n")
	ok(t, w.st.View(t.Context(), func(tx store.Tx) error {
		return store.Each(t.Context(), tx, func(r store.Row) error {
			var body, sealed string
			err := r.Scan(&body, &sealed)
			lacks(t, body+sealed, "verysecret", "hidden-name")
			has(t, body, "hooks.example.com")
			return err
		}, "SELECT body, sealed FROM notify_target")
	}))
	n := must(w.Get(t.Context(), "n"))(t)
	if n.Webhook.URL != "https://hooks.example.com/T0/verysecret" || n.Webhook.Secret.KV != "notify/hidden-name" {
		t.Errorf("read back %+v", n.Webhook)
	}
	text := string(must(json.Marshal(must(w.Summaries(t.Context()))(t)))(t))
	lacks(t, text, "verysecret", "hidden-name")
	// Who can write the database cannot send one team's news to another's webhook.
	ok(t, w.st.Update(t.Context(), func(tx store.Tx) error {
		_, err := tx.Exec(t.Context(), "UPDATE notify_target SET body = replace(body, '\"team\"', '\"else\"')")
		return err
	}))
	if _, err := w.Get(t.Context(), "n"); err == nil {
		t.Error("a row that was edited is believed")
	}
}

func FuzzWhatOthersWroteIsHarmless(f *testing.F) {
	for _, seed := range []string{"", "a <!channel> b", "```\n@here", "\xff\xfe\u202e", strings.Repeat("<&>", 3000), strings.Repeat("ä", 400)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		clean := notify.Plain(text, 300)
		if !utf8.ValidString(clean) || len(clean) > 303 || strings.ContainsFunc(clean, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("%q becomes %q", text, clean)
		}
		items := make([]notify.Item, notify.MaxItems)
		for i := range items {
			items[i] = notify.Item{Change: notify.Refused, ImageName: text, Owners: []string{text}, Golden: []string{text}}
		}
		body := must(notify.Slack(notify.Digest{Kind: "digest", Items: items, Owners: []string{text}, Reasons: []notify.Counted{{Text: text, Count: 1}}}))(t)
		var msg struct {
			Text   string
			Blocks []struct{ Text struct{ Type, Text string } }
		}
		ok(t, json.Unmarshal(body, &msg))
		if strings.ContainsAny(msg.Text, "<>") || len(msg.Blocks) > 8 {
			t.Fatalf("message %s", body)
		}
		for _, block := range msg.Blocks[1:] {
			inside := strings.TrimSuffix(strings.TrimPrefix(block.Text.Text, "```\n"), "\n```")
			if len(block.Text.Text) > 3000 || strings.Contains(inside, "`") {
				t.Fatalf("block of %d bytes: %q", len(block.Text.Text), inside)
			}
		}
	})
}
