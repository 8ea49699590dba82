// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package identity_test

import (
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/attest"
	"github.com/goldkeep/goldkeep/internal/ca"
	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/identity"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
	"github.com/goldkeep/goldkeep/internal/verdict"
	"github.com/goldkeep/goldkeep/internal/workload"
)

func TestAnAdmittedImageGetsAnIdentity(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		w := newWorld(t, st)
		w.story(strict)
		g := w.admitted("app")
		in := w.instance(g.Instance.ID)
		if in.State != identity.Active || in.Workload != "pay" || in.Environment != "prod" || in.Node != "web-1" || in.UID != 1000 {
			t.Errorf("instance %+v", in)
		}
		subject := must(w.tokens.Subject(t.Context(), g.Token))(t)
		if subject.Instance != in.ID || !strings.Contains(strings.Join(subject.Policies, " "), "workload/pay") {
			t.Errorf("the token is of %+v", subject)
		}
		block, _ := pem.Decode(g.Certificate)
		cert := must(x509.ParseCertificate(block.Bytes))(t)
		if len(cert.URIs) != 1 || cert.URIs[0].String() != "spiffe://test.local/workload/prod/pay" || in.SPIFFEID != cert.URIs[0].String() {
			t.Errorf("certificate of %v, instance of %s", cert.URIs, in.SPIFFEID)
		}
		if life := cert.NotAfter.Sub(st.Now()); life > g.TTL+time.Second || g.TTL != 10*time.Minute {
			t.Errorf("it lives %v, said %v", life, g.TTL)
		}
		if len(g.Workload.Secrets) != 1 {
			t.Errorf("secrets %v", g.Workload.Secrets)
		}
		if listed := must(w.List(t.Context(), identity.Query{}))(t); len(listed) != 1 || listed[0].Accessor == "" {
			t.Errorf("listed %+v", listed)
		}
	})
}

func TestWhoIsRefused(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		w := newWorld(t, st)
		w.story(strict)
		ctx := t.Context()
		w.learn("loose", "example.com/lib") // in no channel
		ok(t, w.catalog.Fail(ctx, digest("broken"), "broken", "layer 2 is damaged"))
		for name, c := range map[string]struct {
			edit func(*attest.Evidence)
			want string
		}{
			"in no channel":     {func(e *attest.Evidence) { *e = evidence("loose") }, "no workload runs this image"},
			"another chain":     {func(e *attest.Evidence) { e.ChainID = string(digest("x")) }, "the running file system is not the one"},
			"no chain":          {func(e *attest.Evidence) { e.ChainID = "" }, "the running file system is not the one"},
			"a manifest":        {func(e *attest.Evidence) { e.Image = string(digest("app manifest")) }, "names a manifest"},
			"a program, really": {func(e *attest.Evidence) { e.Kind, e.Executable = attest.KindProcess, e.Image }, "calls"},
			"not scannable":     {func(e *attest.Evidence) { *e = evidence("broken") }, "layer 2 is damaged"},
		} {
			ev := evidence("app")
			c.edit(&ev)
			_, err := w.Admit(ctx, ev, request())
			if r := refusal(t, err, c.want); r.Wanted {
				t.Errorf("%s: the agent is asked to bring it", name)
			}
		}
		for name, edit := range map[string]func(*attest.Evidence){
			"odd digest":     func(e *attest.Evidence) { e.Image = "sha256:../../etc/passwd" },
			"no digest":      func(e *attest.Evidence) { e.Image = "" },
			"odd kind":       func(e *attest.Evidence) { e.Kind = "magic" },
			"huge container": func(e *attest.Evidence) { e.Container = strings.Repeat("x", 1<<20) },
		} {
			ev := evidence("app")
			edit(&ev)
			if _, err := w.Admit(ctx, ev, request()); !fault.Is(err, fault.Invalid) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := w.Admit(ctx, evidence("app"), []byte("no request")); !fault.Is(err, fault.Invalid) {
			t.Errorf("no certificate request: %v", err)
		}
		ok(t, w.feed("CVE-1", "example.com/lib"))
		r := refusal(t, second(w.admit("app")), "environment prod does not admit this image")
		if r.Verdict == nil || r.Verdict.Admit.Answer != verdict.No || fault.HintOf(r) == "" {
			t.Errorf("verdict %+v, hint %q", r.Verdict, fault.HintOf(r))
		}
		ok(t, w.workloads.Put(ctx, workload.Workload{Name: "pay-2", Environment: "prod", Image: workload.Image{Golden: "pay", Channel: "gold"}}))
		refusal(t, second(w.admit("app")), "several workloads run this image here: pay, pay-2")
		ok(t, w.workloads.Delete(ctx, "pay-2"))
		ok(t, w.catalog.DeleteEnvironment(ctx, "prod"))
		refusal(t, second(w.admit("app")), "there is no environment")
		if all := must(w.List(ctx, identity.Query{Ended: true}))(t); len(all) != 0 {
			t.Errorf("refusals left instances behind: %+v", all)
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestAnUnseenImageIsWantedThenKnown(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		w := newWorld(t, st)
		w.story(strict)
		w.golden("new")
		for range 2 {
			if r := refusal(t, second(w.admit("new")), "has never been seen here"); !r.Wanted {
				t.Error("the agent is not asked to bring it")
			}
		}
		if img := must(w.catalog.Find(t.Context(), digest("new")))(t); img.State != catalog.Wanted || img.Name != "new" {
			t.Errorf("image %+v", img)
		}
		w.learn("new")
		w.admitted("new")
	})
}

func TestADamagedCopyDoesNotBlockAnImageForEver(t *testing.T) {
	w, clock := clocked(t)
	w.story(strict)
	w.golden("new")
	ok(t, w.catalog.Fail(t.Context(), digest("new"), "new", "damaged"))
	if r := refusal(t, second(w.admit("new")), "damaged"); r.Wanted {
		t.Error("it is asked for at once again")
	}
	clock.pass(10 * time.Minute)
	if r := refusal(t, second(w.admit("new")), "damaged"); !r.Wanted {
		t.Error("nobody is asked to bring a good copy")
	}
	w.learn("new")
	w.admitted("new")
}

func TestAPlainProcessIsAnArtifact(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	w.story(strict)
	w.golden("program")
	ev := attest.Evidence{Kind: attest.KindProcess, Executable: string(digest("program")), Program: "program", Node: "web-1"}
	refusal(t, second(w.Admit(t.Context(), ev, request())), "has never been seen")
	known := verdict.Evidence{
		Image:      verdict.Image{ID: ev.Executable, Kind: "artifact"},
		Components: []component.Component{{Ecosystem: "Go", Name: "example.com/program", Version: "v1.0.0", PURL: "pkg:golang/example.com/program@1.0.0"}},
	}
	ok(t, w.catalog.Learn(t.Context(), &image.Image{ID: digest("program")}, known))
	must(w.Admit(t.Context(), ev, request()))(t)
}

func TestRenewKeepsTheTokenAndRefreshesTheCertificate(t *testing.T) {
	w, clock := clocked(t)
	w.story(strict)
	g := w.admitted("app")
	for range 5 {
		clock.pass(6 * time.Minute)
		w.step()
		again := must(w.Renew(t.Context(), g.Instance.ID, "web-1", request()))(t)
		if again.Token != "" || again.Instance.Serial == g.Instance.Serial || !again.Instance.Expires.Equal(w.st.Now().Add(10*time.Minute)) {
			t.Errorf("renewed %+v", again.Instance)
		}
	}
	if !w.tokens.valid(g.Token) {
		t.Error("the token has ended though it was renewed")
	}
	if _, err := w.Renew(t.Context(), g.Instance.ID, "web-2", request()); !fault.Is(err, fault.NotFound) {
		t.Errorf("another node renewed: %v", err)
	}
}

func TestASilentInstanceExpires(t *testing.T) {
	w, clock := clocked(t)
	w.story(strict)
	g, other := w.admitted("app"), w.admitted("app")
	clock.pass(9 * time.Minute)
	must(w.Renew(t.Context(), other.Instance.ID, "web-1", request()))(t)
	clock.pass(time.Minute)
	w.step()
	if in := w.instance(g.Instance.ID); in.State != identity.Gone || in.Reason == "" {
		t.Errorf("instance %+v", in)
	}
	if in := w.instance(other.Instance.ID); in.State != identity.Active {
		t.Errorf("the one that was renewed: %+v", in)
	}
	refusal(t, second(w.Renew(t.Context(), g.Instance.ID, "web-1", request())), "not heard of")
	if w.audit.count("instance.gone") != 1 {
		t.Errorf("recorded %v", w.audit.events)
	}
	// Late, but before Step has looked.
	clock.pass(11 * time.Minute)
	refusal(t, second(w.Renew(t.Context(), other.Instance.ID, "web-1", request())), "not heard of")
	clock.pass(31 * 24 * time.Hour)
	w.step()
	if all := must(w.List(t.Context(), identity.Query{Ended: true}))(t); len(all) != 0 {
		t.Errorf("after a month it is still listed: %+v", all)
	}
}

func TestLeave(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		w := newWorld(t, st)
		w.story(strict)
		g := w.admitted("app")
		if err := w.Leave(t.Context(), g.Instance.ID, "web-2"); !fault.Is(err, fault.NotFound) {
			t.Errorf("another node: %v", err)
		}
		ok(t, w.Leave(t.Context(), g.Instance.ID, "web-1"))
		ok(t, w.Leave(t.Context(), g.Instance.ID, "web-1"))
		if w.tokens.valid(g.Token) {
			t.Error("the token works on")
		}
		if live := must(w.List(t.Context(), identity.Query{}))(t); len(live) != 0 {
			t.Errorf("still listed: %+v", live)
		}
		if all := must(w.List(t.Context(), identity.Query{Ended: true, Node: "web-1"}))(t); len(all) != 1 || all[0].State != identity.Gone {
			t.Errorf("ended: %+v", all)
		}
		if foreign := must(w.List(t.Context(), identity.Query{Ended: true, Node: "web-2"}))(t); len(foreign) != 0 {
			t.Errorf("on another node: %+v", foreign)
		}
		if w.audit.count("instance.gone") != 1 {
			t.Errorf("recorded %v", w.audit.events)
		}
	})
}

// TestTakenBackWhileItIsAdmitted lets the loop revoke an instance just when its
// token has been made: neither the token nor the instance may live on.
func TestTakenBackWhileItIsAdmitted(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		w := newWorld(t, st)
		w.story(strict)
		var seen []identity.Instance
		w.tokens.onIssue = func() {
			w.tokens.onIssue = nil
			seen = must(w.List(t.Context(), identity.Query{}))(t)
			ok(t, w.feed("CVE-1", "example.com/lib"))
		}
		refusal(t, second(w.admit("app")), "taken back")
		if len(seen) != 1 {
			t.Fatalf("there was no instance: %v", seen)
		}
		if n := must(w.tokens.RevokeInstance(t.Context(), seen[0].ID))(t); n != 0 {
			t.Errorf("%d tokens outlived a refused admission", n)
		}
		if in := w.instance(seen[0].ID); in.State != identity.Revoked {
			t.Errorf("instance %+v", in)
		}
	})
}

func TestIdentitiesCannotOutliveTheirAuthoritysLimit(t *testing.T) {
	w := newWorld(t, storetest.SQLite(t))
	_, err := identity.New(t.Context(), identity.Options{Store: w.st, TTL: ca.MaxTTL + time.Second})
	if !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
		t.Errorf("error %v", err)
	}
}
