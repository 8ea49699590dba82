// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package notify_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/manifest"
	"github.com/goldkeep/goldkeep/internal/notify"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
	"github.com/goldkeep/goldkeep/internal/verdict"
	"github.com/goldkeep/goldkeep/internal/workload"
)

func TestParse(t *testing.T) {
	n := must(parse(t, "chat", "  webhook: {url: https://chat.example.com/hook, secret: {kv: notify/chat, field: key}}\n"))(t)
	want := &notify.Notification{
		Name: "chat", Owner: "team", Owners: []string{"team"},
		On:      []notify.Change{notify.Revoked, notify.Refused, notify.Warned, notify.Deadline, notify.Replaced, notify.Recovered},
		Webhook: &notify.Webhook{URL: "https://chat.example.com/hook", Format: "json", Secret: notify.SecretRef{KV: "notify/chat", Mount: "secret", Field: "key"}},
	}
	if diff := cmp.Diff(want, n); diff != "" {
		t.Error(diff)
	}
	for spec, problem := range map[string]string{
		"  owners: [a]\n": "one way",
		"  webhook: {url: https://a.example}\n  email: {to: [a@b.example]}\n": "one way",
		"  webhook: {format: slack}\n":                                        "either url: or urlFrom",
		"  webhook: {url: http://a.example/x}\n":                              "plain http",
		"  webhook: {url: \"file:///etc/passwd\"}\n":                          "is not one",
		"  webhook: {url: \"gopher://a.example/\"}\n":                         "https://",
		"  webhook: {url: \"https://me:pw@a.example/\"}\n":                    "user or password",
		"  webhook: {url: https://a.example, format: html}\n":                 "json or slack",
		"  webhook: {url: https://a.example, secret: {kv: ../x, field: k}}\n": "write it like",
		"  webhook: {url: https://a.example, token: x}\n":                     "unknown field",
		"  email: {to: []}\n":                                                 "addresses",
		"  email: {to: [\"Eve <e@x.example>\"]}\n":                            "plain mail address",
		"  email: {to: [\"a@b.example\\r\\nBcc: c@d.example\"]}\n":            "plain mail address",
		"  email: {to: [a@b.example]}\n  on: [everything]\n":                  "nothing that happens",
	} {
		_, err := parse(t, "chat", spec)
		var errs manifest.Errors
		if !errors.As(err, &errs) || !strings.Contains(err.Error(), problem) || errs[0].Line < 3 {
			t.Errorf("%s: %v, want %q with a line", spec, err, problem)
		}
		if err != nil {
			lacks(t, err.Error(), "me:pw")
		}
	}
	must(parse(t, "chat", "  webhook: {url: http://a.example/x, insecurePlainHTTP: true}\n"))(t)
}

func TestAChangeIsToldOnceToEachWhoseBusinessItIs(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		r := newReceiver(t)
		w := newWorld(t, st, r.trusts)
		ctx := t.Context()
		w.own("pay", "payments", "#payments", digest("a"))
		w.own("shop", "shop", "", digest("b"))
		ok(t, w.workloads.Put(ctx, workload.Workload{Name: "till", Owner: "tills", Environment: "prod", Image: workload.Image{Golden: "pay", Channel: "gold"}}))
		w.declare("payments", "  owners: [payments]\n  webhook: {url: "+r.URL+"/p, secret: {kv: n, field: key}}\n")
		w.declare("tills", "  owners: [tills]\n  webhook: {url: "+r.URL+"/t}\n")
		w.declare("security", "  owners: [\"*\"]\n  environments: [prod]\n  webhook: {url: "+r.URL+"/s}\n")
		w.declare("elsewhere", "  owners: [\"*\"]\n  environments: [dev]\n  webhook: {url: "+r.URL+"/e}\n")
		w.declare("revokers", "  owners: [\"*\"]\n  on: [revoked]\n  webhook: {url: "+r.URL+"/r}\n")
		w.judged(notify.Because(ctx, "feed Debian"), digest("a"), fine, bad)
		w.pass(0)
		if n := len(w.deliveries("")); n != 0 {
			t.Fatalf("told before it was quiet: %d", n)
		}
		w.judged(ctx, digest("b"), fine, bad)
		w.pass(31 * time.Second)
		got := map[string]string{}
		for _, c := range r.got() {
			d := c.digest
			got[d.Notification] = fmt.Sprintf("%v %v %d items of %v, %v", d.Counts, d.Owners, len(d.Items), d.Items[0].Golden, d.Items[0].Workloads)
			if d.Version != 1 || d.Kind != "digest" || d.ID != c.key || d.Server != "keep-1" || d.From.IsZero() || d.To.Before(d.From) {
				t.Errorf("digest %+v", d)
			}
			if diff := cmp.Diff([]notify.Counted{{"rebuild on debian-base gold", len(d.Items)}}, d.Remedies); diff != "" {
				t.Error(diff)
			}
			if d.Notification != "payments" {
				continue
			}
			if diff := cmp.Diff([]string{"feed Debian"}, d.Causes); diff != "" {
				t.Error(diff)
			}
			stamp := strings.TrimPrefix(strings.Split(c.signature, ",")[0], "t=")
			var unix int64
			must(fmt.Sscan(stamp, &unix))(t)
			if at := time.Unix(unix, 0); c.signature != notify.Signature("value of n key", at, []byte(c.body)) {
				t.Errorf("signature %q", c.signature)
			}
			if it := d.Items[0]; it.Image != string(digest("a")) || it.Contacts[0] != "#payments" || it.Change != notify.Refused {
				t.Errorf("item %+v", it)
			}
		}
		want := map[string]string{
			"payments": "map[refused:1] [payments] 1 items of [pay gold], [till]",
			"tills":    "map[refused:1] [tills] 1 items of [pay gold], [till]",
			"security": "map[refused:2] [payments shop tills] 2 items of [pay gold], [till]",
		}
		security := got["security"] // its two items come in the order of their digests
		got["security"] = strings.Replace(security, "[shop gold], []", "[pay gold], [till]", 1)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		for _, d := range w.deliveries("") {
			if d.State != notify.Sent || d.Attempts != 1 || d.Settled.IsZero() || !strings.HasPrefix(d.Answer, "200") {
				t.Errorf("record %+v", d)
			}
			lacks(t, d.Target, "/p", "/t", "/s")
		}
		w.pass(time.Hour)
		if n := len(r.got()); n != 3 {
			t.Errorf("%d calls in all: what was told is told again", n)
		}
	})
}

func TestWhatEndsAsItBeganIsNoNews(t *testing.T) {
	r := newReceiver(t)
	w := newWorld(t, storetest.SQLite(t), r.trusts)
	ctx := t.Context()
	w.own("pay", "team", "", digest("a"))
	w.declare("n", "  webhook: {url: "+r.URL+"}\n")
	w.judged(ctx, digest("a"), fine, bad)
	w.judged(ctx, digest("a"), bad, fine)
	warned := notify.Instance{ID: "i", Workload: "till", Owner: "team", Environment: "prod", Node: "n1", Image: digest("a"), State: "warned"}
	ok(t, w.Changed(ctx, warned, "age"))
	well := warned
	well.State = "active"
	ok(t, w.Changed(ctx, well, ""))
	ok(t, w.st.Update(ctx, func(tx store.Tx) error { return w.Judged(ctx, tx, nil, bad) })) // the first verdict
	w.pass(time.Minute)
	if n := len(r.got()); n != 0 {
		t.Fatalf("%d calls, want none: %s", n, r.got()[0].body)
	}
	// But each change on its own is.
	soon := fine
	soon.Retain.Reasons = []verdict.Reason{{Answer: verdict.Yes, Text: "in grace", Deadline: w.now().Add(72 * time.Hour)}}
	for _, change := range []struct {
		make func()
		want notify.Change
	}{
		{func() { w.judged(ctx, digest("a"), fine, soon) }, notify.Deadline},
		{func() { w.judged(ctx, digest("a"), soon, fine) }, notify.Recovered},
		{func() { w.judged(ctx, digest("a"), bad, fine) }, notify.Recovered},
		{func() { ok(t, w.Changed(ctx, warned, "age")) }, notify.Warned},
		{func() { ok(t, w.Changed(ctx, well, "")) }, notify.Recovered},
		{func() { gone := warned; gone.State = "revoked"; ok(t, w.Changed(ctx, gone, "CVE")) }, notify.Revoked},
	} {
		before := len(r.got())
		change.make()
		w.pass(time.Minute)
		calls := r.got()[before:]
		if len(calls) != 1 || calls[0].digest.Counts[change.want] != 1 || len(calls[0].digest.Counts) != 1 {
			t.Errorf("want one digest of %s, got %+v", change.want, calls)
		}
	}
	// An instance that has ended is nobody's worry.
	ok(t, w.Changed(ctx, warned, "age"))
	ended := warned
	ended.State = "gone"
	ok(t, w.Changed(ctx, ended, ""))
	before := len(r.got())
	w.pass(time.Minute)
	if n := len(r.got()); n != before {
		t.Error("told of an instance that has ended")
	}
}

func TestNewsThatDoesNotEndIsToldAllTheSame(t *testing.T) {
	r := newReceiver(t)
	w := newWorld(t, storetest.SQLite(t), r.trusts)
	w.own("pay", "team", "", digest("a"))
	w.own("shop", "team", "", digest("b"))
	w.declare("n", "  webhook: {url: "+r.URL+"}\n")
	w.judged(t.Context(), digest("a"), fine, bad)
	for i := 0; i < 31 && len(r.got()) == 0; i++ {
		w.judged(t.Context(), digest("b"), fine, bad)
		w.pass(10 * time.Second)
	}
	if n := len(r.got()); n != 1 {
		t.Errorf("%d calls in five minutes of news, want one", n)
	}
}

func TestTenThousandImagesAreOneBoundedDigestEach(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		const owners, each = 4, 2500
		r := newReceiver(t)
		w := newWorld(t, st, func(o *notify.Options) {
			r.trusts(o)
			o.Origins = func(_ context.Context, id image.Digest) ([]string, error) {
				return []string{fmt.Sprintf("base-%d", int(id[len(id)-1])%owners)}, nil
			}
		})
		ctx := t.Context()
		for i := range owners {
			w.own(fmt.Sprintf("base-%d", i), fmt.Sprintf("team-%d", i), "", digest(fmt.Sprint("golden", i)))
			w.declare(fmt.Sprintf("n-%d", i), fmt.Sprintf("  owners: [team-%d]\n  webhook: {url: %s, format: json}\n", i, r.URL))
		}
		images := map[image.Digest]bool{}
		for i := 0; len(images) < owners*each; i++ {
			images[digest(fmt.Sprint(i))] = true
		}
		ok(t, st.Update(ctx, func(tx store.Tx) error {
			for id := range images {
				kept := bad
				kept.Image, kept.Environment = string(id), "prod"
				if err := w.Judged(ctx, tx, &fine, kept); err != nil {
					return err
				}
			}
			return nil
		}))
		begun := time.Now()
		w.pass(time.Minute)
		t.Logf("gathered and sent in %v", time.Since(begun))
		total := 0
		calls := r.got()
		for _, c := range calls {
			total += c.digest.Counts[notify.Refused]
			if len(c.digest.Items) != notify.MaxItems || c.digest.More != c.digest.Counts[notify.Refused]-notify.MaxItems || len(c.body) > 64<<10 {
				t.Errorf("%d items, %d more, %d bytes", len(c.digest.Items), c.digest.More, len(c.body))
			}
		}
		if len(calls) != owners || total != owners*each {
			t.Errorf("%d digests of %d images, want %d of %d", len(calls), total, owners, owners*each)
		}
	})
}

func TestItIsSentUntilSomebodyTakesIt(t *testing.T) {
	r := newReceiver(t)
	r.say = func(n int) (int, string) {
		if n < 3 {
			return http.StatusServiceUnavailable, "come\nback \u202elater"
		}
		return 204, ""
	}
	w := newWorld(t, storetest.SQLite(t), r.trusts)
	w.own("pay", "team", "", digest("a"))
	w.declare("n", "  webhook: {url: "+r.URL+"}\n")
	w.judged(t.Context(), digest("a"), fine, bad)
	w.pass(time.Minute)
	d := w.only()
	if d.State != notify.Pending || d.Attempts != 1 || d.Answer != "503 come back ?later" || d.Next.Before(w.now().Add(20*time.Second)) {
		t.Fatalf("after the first attempt: %+v", d)
	}
	w.pass(time.Second)
	if n := len(r.got()); n != 1 {
		t.Fatalf("tried again at once: %d calls", n)
	}
	w.pass(time.Minute)
	w.pass(2 * time.Minute)
	if d = w.only(); d.State != notify.Sent || d.Attempts != 3 {
		t.Errorf("after the third attempt: %+v", d)
	}
	for _, c := range r.got() {
		if c.key != d.ID {
			t.Errorf("the idempotency key changes: %q, %q", c.key, d.ID)
		}
	}
}

func TestAfterADayADeliveryHasFailed(t *testing.T) {
	r := newReceiver(t)
	r.say = func(int) (int, string) { return http.StatusTooManyRequests, "" }
	var ended []notify.Delivery
	w := newWorld(t, storetest.SQLite(t), func(o *notify.Options) {
		r.trusts(o)
		o.Record = func(_ context.Context, d notify.Delivery) error { ended = append(ended, d); return nil }
	})
	w.own("pay", "team", "", digest("a"))
	w.declare("n", "  webhook: {url: "+r.URL+"}\n")
	w.judged(t.Context(), digest("a"), fine, bad)
	w.pass(time.Minute)
	for range 40 {
		w.pass(time.Hour)
	}
	d := w.only()
	if d.State != notify.Failed || d.Attempts < 12 || d.Attempts > 35 || len(ended) != 1 || ended[0].State != notify.Failed {
		t.Errorf("after a day: %+v; recorded %+v", d, ended)
	}
	for range 31 {
		w.pass(24 * time.Hour)
	}
	if left := w.deliveries(""); len(left) != 0 {
		t.Errorf("remembered for ever: %+v", left)
	}
}

func TestSomeAnswersAreFinal(t *testing.T) {
	for status, want := range map[int]notify.DeliveryState{
		200: notify.Sent, 201: notify.Sent, 301: notify.Pending, 302: notify.Pending, 307: notify.Pending, 400: notify.Failed,
		401: notify.Pending, 404: notify.Pending, 410: notify.Failed, 413: notify.Failed, 429: notify.Pending, 500: notify.Pending,
	} {
		r := newReceiver(t)
		r.say = func(int) (int, string) { return status, "" }
		w := newWorld(t, storetest.SQLite(t), r.trusts)
		w.own("pay", "team", "", digest("a"))
		w.declare("n", "  webhook: {url: "+r.URL+"}\n")
		w.judged(t.Context(), digest("a"), fine, bad)
		w.pass(time.Minute)
		if d := w.only(); d.State != want || len(r.got()) != 1 {
			t.Errorf("%d: %s after %d calls, want %s (%s)", status, d.State, len(r.got()), want, d.Answer)
		}
	}
}

func TestWhileSealedNothingIsSentAndNothingLost(t *testing.T) {
	r := newReceiver(t)
	w := newWorld(t, storetest.SQLite(t), r.trusts)
	w.own("pay", "team", "", digest("a"))
	w.declare("n", "  webhook: {url: "+r.URL+"}\n")
	w.barrier.Seal()
	w.judged(t.Context(), digest("a"), fine, bad)
	w.pass(10 * time.Minute)
	if n := len(r.got()); n != 0 {
		t.Fatalf("%d calls while sealed", n)
	}
	if all := must(w.Summaries(t.Context()))(t); len(all) != 1 || !strings.HasPrefix(all[0].Target, "json webhook at 127.0.0.1:") {
		t.Errorf("seen while sealed: %+v", all)
	}
	w.unseal()
	w.pass(0)
	if n := len(r.got()); n != 1 {
		t.Errorf("%d calls after unsealing, want one", n)
	}
}

func TestAServerThatDiesBetweenClaimAndSending(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		r := newReceiver(t)
		w := newWorld(t, st, r.trusts)
		w.own("pay", "team", "", digest("a"))
		w.declare("n", "  webhook: {url: "+r.URL+"}\n")
		w.judged(t.Context(), digest("a"), fine, bad)
		r.say = func(int) (int, string) { return 503, "" }
		w.pass(time.Minute) // gathered; the first attempt fails
		w.mu.Lock()
		w.passed += time.Hour
		w.mu.Unlock()
		mine := must(w.Claim(t.Context(), w.now(), 10))(t)
		if len(mine) != 1 || mine[0].Attempts != 2 {
			t.Fatalf("claimed %+v", mine)
		}
		r.say = nil
		w.pass(notify.Claimed - time.Second)
		if n := len(r.got()); n != 1 {
			t.Fatalf("%d calls while another server has the delivery", n)
		}
		w.pass(2 * time.Second)
		calls := r.got()
		if len(calls) != 2 || calls[1].key != calls[0].key || w.only().State != notify.Sent {
			t.Errorf("calls %+v, delivery %+v", calls, w.only())
		}
	})
}

func TestTwoServersTellOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		const teams = 40
		r := newReceiver(t)
		a := newWorld(t, st, r.trusts)
		b := newWorld(t, st, r.trusts)
		for i := range teams {
			a.own(fmt.Sprintf("g-%d", i), fmt.Sprintf("team-%d", i), "", digest(fmt.Sprint(i)))
			a.declare(fmt.Sprintf("n-%d", i), fmt.Sprintf("  owners: [team-%d]\n  webhook: {url: %s}\n", i, r.URL))
			a.judged(t.Context(), digest(fmt.Sprint(i)), fine, bad)
		}
		a.passed, b.passed = time.Minute, time.Minute
		for len(r.got()) < teams {
			var wait sync.WaitGroup
			for _, w := range []*world{a, b} {
				wait.Go(func() { ok(t, w.Step(context.Background())) })
			}
			wait.Wait()
		}
		ok(t, a.Step(t.Context()))
		seen := map[string]int{}
		for _, c := range r.got() {
			seen[c.digest.Notification]++
		}
		for name, n := range seen {
			if n != 1 {
				t.Errorf("%s was told %d times", name, n)
			}
		}
		if len(seen) != teams || len(a.deliveries(notify.Sent)) != teams {
			t.Errorf("%d of %d told, %d deliveries", len(seen), teams, len(a.deliveries(notify.Sent)))
		}
	})
}

func TestWhoIsGoneMeanwhile(t *testing.T) {
	r := newReceiver(t)
	r.say = func(int) (int, string) { return 503, "" }
	w := newWorld(t, storetest.SQLite(t), r.trusts)
	w.own("pay", "team", "", digest("a"))
	w.declare("n", "  webhook: {url: "+r.URL+"}\n")
	w.judged(t.Context(), digest("a"), fine, bad)
	w.pass(time.Minute)
	ok(t, w.Delete(t.Context(), "n"))
	w.pass(time.Hour)
	if d := w.only(); d.State != notify.Failed || !strings.Contains(d.Answer, "no longer declared") {
		t.Errorf("delivery %+v", d)
	}
}

func TestAnOwnerWithoutANotificationIsToldByContact(t *testing.T) {
	for _, off := range []bool{false, true} {
		r := newReceiver(t)
		w := newWorld(t, storetest.SQLite(t), func(o *notify.Options) { r.trusts(o); o.NoContacts = off })
		w.own("pay", "payments", r.URL+"/secret-path", digest("a"))
		w.own("shop", "shop", "#shop", digest("b"))
		w.declare("all", "  owners: [\"*\"]\n  webhook: {url: "+r.URL+"/all}\n")
		w.judged(t.Context(), digest("a"), fine, bad)
		w.judged(t.Context(), digest("b"), fine, bad)
		w.pass(time.Minute)
		want := 2
		if off {
			want = 1
		}
		if n := len(r.got()); n != want {
			t.Errorf("contacts off: %t: %d calls, want %d", off, n, want)
		}
		for _, d := range w.deliveries("") {
			whole, err := json.Marshal(must(w.Delivery(t.Context(), d.ID))(t))
			ok(t, err)
			lacks(t, string(whole), "secret-path")
		}
	}
}

func TestATestMessage(t *testing.T) {
	r := newReceiver(t)
	w := newWorld(t, storetest.SQLite(t), r.trusts)
	w.declare("n", "  webhook: {urlFrom: {kv: hook, field: url}}\n")
	if _, err := w.Service.Test(t.Context(), "n"); err == nil || !strings.Contains(err.Error(), "url is not one") {
		t.Errorf("a url that is none: %v", err)
	}
	w.declare("n", "  webhook: {url: "+r.URL+"}\n")
	if d := must(w.Service.Test(t.Context(), "n"))(t); d.State != notify.Sent || r.got()[0].digest.Kind != "test" {
		t.Errorf("tested %+v", d)
	}
	r.say = func(int) (int, string) { return 404, "no such hook" }
	if _, err := w.Service.Test(t.Context(), "n"); err == nil || !strings.Contains(err.Error(), "404 no such hook") {
		t.Errorf("error %v", err)
	}
	if sent, failed := w.deliveries(notify.Sent), w.deliveries(notify.Failed); len(sent) != 1 || len(failed) != 2 || sent[0].Attempts != 1 {
		t.Errorf("on record: %+v, %+v", sent, failed)
	}
}

func TestAFailingFeedIsToldToWhoAsksForIt(t *testing.T) {
	r := newReceiver(t)
	w := newWorld(t, storetest.SQLite(t), r.trusts)
	w.declare("ops", "  on: [feed-failure]\n  webhook: {url: "+r.URL+"}\n")
	w.declare("all", "  owners: [\"*\"]\n  webhook: {url: "+r.URL+"}\n")
	ok(t, w.st.Update(t.Context(), func(tx store.Tx) error { return w.FeedFailed(t.Context(), tx, "Debian", "404 not found") }))
	w.pass(time.Minute)
	calls := r.got()
	if len(calls) != 1 || calls[0].digest.Notification != "ops" || calls[0].digest.Items[0].Feed != "Debian" || calls[0].digest.Reasons[0].Text != "404 not found" {
		t.Errorf("calls %+v", calls)
	}
}

// stack has the catalog know an image of some layers.
func (w *world) stack(name string, layers ...string) {
	w.t.Helper()
	img, chain := &image.Image{ID: digest(name)}, image.Digest("")
	for i, l := range layers {
		img.Layers = append(img.Layers, image.Layer{DiffID: digest(l)})
		if chain = image.DigestOf([]byte(string(chain) + " " + string(digest(l)))); i == 0 {
			chain = digest(l)
		}
	}
	ok(w.t, w.catalog.Learn(w.t.Context(), img, verdict.Evidence{Image: verdict.Image{ID: string(img.ID), Name: name, ChainID: string(chain)}}))
}

// TestWhoRunsOrBuildsOnWhatWasReplacedIsTold: a channel that moves is the news of those
// whose images are built on what stood there, and of those who run it; not of who moved
// it, nor of whose image is built on another of its owner's, and not where it moves back.
func TestWhoRunsOrBuildsOnWhatWasReplacedIsTold(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		r := newReceiver(t)
		w := newWorld(t, st, r.trusts)
		ctx := t.Context()
		w.stack("debian 1", "d1")
		w.stack("debian 2", "d2")
		w.stack("python", "d1", "p")
		w.stack("shop", "d1", "p", "s")
		w.stack("bank", "d2", "b")
		w.own("debian", "platform", "", digest("debian 1"))
		w.own("python", "pythonistas", "#py", digest("python"))
		w.own("shop", "shop-team", "", digest("shop"))
		w.own("bank", "bank-team", "", digest("bank"))
		ok(t, w.workloads.Put(ctx, workload.Workload{Name: "jump", Owner: "ops", Environment: "prod", Image: workload.Image{Golden: "debian", Channel: "gold"}}))
		ok(t, w.workloads.Put(ctx, workload.Workload{Name: "repl", Owner: "ops", Environment: "dev", Image: workload.Image{Golden: "python", Channel: "gold"}}))
		w.declare("all", "  owners: [\"*\"]\n  environments: [prod]\n  webhook: {url: "+r.URL+"/a}\n")
		w.declare("others", "  owners: [platform, shop-team, bank-team]\n  webhook: {url: "+r.URL+"/o}\n")
		w.pass(time.Minute)

		w.own("debian", "platform", "", digest("debian 2"))
		w.own("debian", "platform", "", digest("debian 1"))
		w.pass(time.Minute)
		if n := len(w.deliveries("")); n != 0 {
			t.Fatalf("it was moved back, and told %d times", n)
		}

		must(w.catalog.PutGolden(notify.Because(ctx, "apply"), catalog.Golden{
			Name: "debian", Owner: "platform", Channels: map[string]image.Digest{"gold": digest("debian 2")},
		}))(t)
		w.pass(time.Minute)
		d := r.got()[0].digest
		if len(r.got()) != 1 || d.Notification != "all" || d.Counts[notify.Replaced] != 2 || len(d.Items) != 2 || d.Causes[0] != "apply" {
			t.Fatalf("told %+v", r.got())
		}
		runs, built := d.Items[0], d.Items[1]
		if runs.Environment == "" {
			runs, built = built, runs
		}
		if runs.Image != string(digest("debian 2")) || runs.Workloads[0] != "jump" || runs.Owners[0] != "ops" || runs.Environment != "prod" ||
			!strings.HasPrefix(runs.Remedies[0], "restart what runs the one before, sha256:") {
			t.Errorf("to who runs it: %+v", runs)
		}
		if built.Image != string(digest("python")) || built.Golden[0] != "python gold" || built.Owners[0] != "pythonistas" || built.Contacts[0] != "#py" ||
			built.Workloads[0] != "repl" || built.Remedies[0] != "rebuild on debian gold, "+string(digest("debian 2")) {
			t.Errorf("to who builds on it: %+v", built)
		}
	})
}
