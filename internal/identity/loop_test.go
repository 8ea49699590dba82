// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package identity_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/identity"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

func TestANewAdvisoryTakesTheIdentityBack(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		w := newWorld(t, st)
		w.story(strict)
		g := w.admitted("app")
		ok(t, w.feed("CVE-1", "example.com/lib"))
		if w.tokens.valid(g.Token) {
			t.Error("the token is accepted after the revocation was done")
		}
		in := w.instance(g.Instance.ID)
		if in.State != identity.Revoked || !strings.Contains(in.Reason, "6.9") {
			t.Errorf("instance %+v", in)
		}
		refusal(t, second(w.Renew(t.Context(), in.ID, "web-1", request())), "taken back")
		w.step()
		if n := w.audit.count("instance.revoked"); n != 1 {
			t.Errorf("recorded %d times: %v", n, w.audit.events)
		}
		if kept := must(w.catalog.Verdicts(t.Context(), digest("app")))(t); len(kept) != 1 || kept[0].Retain.Answer != verdict.No {
			t.Errorf("kept %+v", kept)
		}
	})
}

func TestTriageBringsItBack(t *testing.T) {
	w, clock := clocked(t)
	w.story(strict)
	ok(t, w.feed("CVE-1", "example.com/lib"))
	refusal(t, second(w.admit("app")), "does not admit")
	must(w.catalog.PutTriage(t.Context(), verdict.Triage{
		Finding: "CVE-1", Golden: "pay", Status: verdict.NotAffected, Justification: "vulnerable_code_not_in_execute_path", Reason: "not called", Author: "ann", Expires: w.st.Now().Add(time.Hour),
	}))(t)
	g := w.admitted("app")
	ok(t, w.Reconcile(t.Context(), []image.Digest{digest("app")})) // as the API does after every triage
	for range 11 {
		clock.pass(5 * time.Minute)
		w.step()
		must(w.Renew(t.Context(), g.Instance.ID, "web-1", request()))(t)
	}
	clock.pass(6 * time.Minute) // the triage has expired
	w.step()
	if in := w.instance(g.Instance.ID); in.State != identity.Revoked || w.tokens.valid(g.Token) {
		t.Errorf("the triage expired, yet %+v", in)
	}
}

func TestGraceWarnsFirst(t *testing.T) {
	w, clock := clocked(t)
	w.story(graceful)
	g := w.admitted("app")
	ok(t, w.feed("CVE-1", "example.com/lib"))
	in := w.instance(g.Instance.ID)
	if in.State != identity.Warned || in.Reason == "" || !in.Until.Equal(w.st.Now().Add(24*time.Hour)) {
		t.Fatalf("instance %+v, until must be a day from %v", in, w.st.Now())
	}
	if !w.tokens.valid(g.Token) || w.audit.count("instance.warned") != 1 {
		t.Errorf("the token is gone, or the warning not recorded once: %v", w.audit.events)
	}
	for range 159 { // nearly a day
		clock.pass(9 * time.Minute)
		w.step()
		must(w.Renew(t.Context(), in.ID, "web-1", request()))(t)
	}
	// Somebody asks for the verdict at the deadline: that must not count as acting on it.
	clock.pass(9 * time.Minute)
	refusal(t, second(w.admit("app")), "does not admit")
	w.step()
	if in = w.instance(in.ID); in.State != identity.Revoked || w.tokens.valid(g.Token) || !in.Until.IsZero() {
		t.Errorf("after the grace: %+v", in)
	}
	if w.audit.count("instance.warned") != 1 || w.audit.count("instance.revoked") != 1 {
		t.Errorf("recorded %v", w.audit.events)
	}
}

func TestAWarningIsLifted(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		w := newWorld(t, st)
		w.story(graceful)
		g := w.admitted("app")
		ok(t, w.feed("CVE-1", "example.com/lib"))
		ok(t, w.feed("CVE-2", "example.com/other")) // CVE-1 was withdrawn
		if in := w.instance(g.Instance.ID); in.State != identity.Active || in.Reason != "" || !in.Until.IsZero() {
			t.Errorf("instance %+v", in)
		}
	})
}

func TestChangedRulesActAndSurviveACrash(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		w := newWorld(t, st)
		w.story("\n  admit: [{age: {max: 36500d}}]\n  onFail: revoke\n")
		w.learnOld("app")
		g := w.admitted("app")
		// The server dies right after the rules were written.
		w.rules("\n  admit: [{age: {max: 1h}}]\n  retain: [{age: {max: 1h}}]\n  onFail: revoke\n")
		w.Service = w.service()
		w.step()
		if in := w.instance(g.Instance.ID); in.State != identity.Revoked || w.tokens.valid(g.Token) {
			t.Errorf("instance %+v", in)
		}
	})
}

// learnOld knows an image that was built long ago.
func (w *world) learnOld(name string) {
	w.t.Helper()
	ev := verdict.Evidence{Image: verdict.Image{
		ID: string(digest(name)), ChainID: string(digest(name + " chain")), Kind: "image", Created: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
	}}
	ok(w.t, w.catalog.Learn(w.t.Context(), &image.Image{ID: digest(name)}, ev))
}

// TestACrashBetweenTheEndAndItsRecord lets every step after the end of an instance
// fail as a crash would, and starts the room again. The token ends with the
// instance, in one transaction.
func TestACrashBetweenTheEndAndItsRecord(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		w := newWorld(t, st)
		w.story(strict)
		g := w.admitted("app")
		w.tokens.fail(errors.New("the process is killed here"))
		if err := w.feed("CVE-1", "example.com/lib"); err == nil {
			t.Fatal("a revocation that did not work was called done")
		}
		if in := w.instance(g.Instance.ID); in.State != identity.Revoked || w.tokens.valid(g.Token) {
			t.Fatalf("the end is not there, or the token works: %+v", in)
		}
		refusal(t, second(w.Renew(t.Context(), g.Instance.ID, "web-1", request())), "taken back")
		w.tokens.fail(nil)
		w.Service = w.service()
		w.step()
		if w.tokens.valid(g.Token) || w.audit.count("instance.revoked") != 1 {
			t.Errorf("after the restart the token works, or recorded is %v", w.audit.events)
		}
	})
}

func TestAuditFailingDoesNotStopARevocation(t *testing.T) {
	w, clock := clocked(t)
	w.story(strict)
	g := w.admitted("app")
	w.step()
	w.audit.fail(true)
	if err := w.feed("CVE-1", "example.com/lib"); !fault.Is(err, fault.Unavailable) {
		t.Errorf("error %v", err)
	}
	if in := w.instance(g.Instance.ID); in.State != identity.Revoked || w.tokens.valid(g.Token) {
		t.Errorf("instance %+v", in)
	}
	clock.pass(10 * time.Second)
	if err := w.Step(t.Context()); err == nil {
		t.Error("nobody is told that the audit log fails")
	}
	w.audit.fail(false)
	w.step()
	w.step()
	if w.audit.count("instance.revoked") != 1 {
		t.Errorf("recorded %v", w.audit.events)
	}
}

func TestWhileSealedVerdictsGoOnAndRevocationsFollow(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		w := newWorld(t, st)
		w.story(strict)
		g := w.admitted("app")
		w.barrier.Seal()
		ok(t, w.feed("CVE-1", "example.com/lib"))
		if kept := must(w.catalog.Verdicts(t.Context(), digest("app")))(t); len(kept) != 1 || kept[0].Retain.Answer != verdict.No {
			t.Errorf("kept while sealed: %+v", kept)
		}
		if in := w.instance(g.Instance.ID); in.State != identity.Revoked {
			t.Errorf("while sealed: %+v", in)
		}
		w.step()
		if w.audit.count("instance.revoked") != 0 {
			t.Errorf("recorded before it was done: %v", w.audit.events)
		}
		w.unseal()
		if !w.tokens.valid(g.Token) {
			t.Fatal("the token is gone already: this test shows nothing")
		}
		w.step()
		if w.tokens.valid(g.Token) || w.audit.count("instance.revoked") != 1 {
			t.Errorf("after unsealing the token works, or recorded is %v", w.audit.events)
		}
	})
}

func TestAnInstanceMustFitItsWorkload(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		w := newWorld(t, st)
		w.story(strict)
		ctx := t.Context()
		pay := *must(w.workloads.Get(ctx, "pay"))(t)
		uid := 7
		for name, c := range map[string]struct {
			change func() error
			want   string
		}{
			"deleted":       {func() error { return w.workloads.Delete(ctx, "pay") }, "no longer declared"},
			"other user":    {func() error { p := pay; p.User = &uid; return w.workloads.Put(ctx, p) }, "as user 1000"},
			"other node":    {func() error { p := pay; p.Nodes = []string{"web-9"}; return w.workloads.Put(ctx, p) }, "on node web-1"},
			"other setting": {func() error { p := pay; p.Environment = "dev"; return w.workloads.Put(ctx, p) }, "now runs in environment dev"},
		} {
			ok(t, w.workloads.Put(ctx, pay))
			told, renewing := w.admitted("app"), w.admitted("app")
			ok(t, c.change())
			refusal(t, second(w.Renew(ctx, renewing.Instance.ID, "web-1", request())), c.want)
			ok(t, w.ReconcileWorkload(ctx, "pay"))
			for _, g := range []*identity.Grant{told, renewing} {
				if in := w.instance(g.Instance.ID); in.State != identity.Revoked || !strings.Contains(in.Reason, c.want) || w.tokens.valid(g.Token) {
					t.Errorf("%s: %+v", name, in)
				}
			}
		}
		ok(t, w.workloads.Put(ctx, pay))
		g := w.admitted("app")
		ok(t, w.catalog.DeleteEnvironment(ctx, "prod"))
		ok(t, w.ReconcileAll(ctx, "prod"))
		if in := w.instance(g.Instance.ID); in.State != identity.Revoked || !strings.Contains(in.Reason, "environment prod is no longer declared") {
			t.Errorf("instance %+v", in)
		}
	})
}

func TestChannelsNamedByManifestAreReconciled(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		w := newWorld(t, st)
		w.story("\n  admit: [{channel: gold}]\n  retain: [{channel: gold}]\n  onFail: revoke\n")
		w.golden("app manifest")
		g := w.admitted("app")
		w.golden("next")
		ok(t, w.Reconcile(t.Context(), []image.Digest{digest("app manifest"), digest("next")}))
		if in := w.instance(g.Instance.ID); in.State != identity.Revoked {
			t.Errorf("its manifest left the channel, yet %+v", in)
		}
	})
}

func TestReconcileAllReachesEveryImage(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		w := newWorld(t, st)
		w.story(strict)
		names := []string{"a", "b", "c", "app"}
		channels := map[string]image.Digest{}
		for _, name := range names {
			w.learn(name)
			channels[name] = digest(name)
		}
		must(w.catalog.PutGolden(t.Context(), catalog.Golden{Name: "line", Owner: "team", Channels: channels}))(t)
		w.rules(graceful)
		ok(t, w.ReconcileAll(t.Context(), "prod"))
		for _, name := range names {
			if kept := must(w.catalog.Verdicts(t.Context(), digest(name)))(t); len(kept) != 1 || !kept[0].Admitted() {
				t.Errorf("%s: kept %+v", name, kept)
			}
		}
	})
}

// bound is how long a test waits for what must happen.
const bound = 30 * time.Second

func TestWatchWakesAtOnce(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		w := newWorld(t, st)
		w.story(strict)
		g := w.admitted("app")
		first := must(w.Watch(t.Context(), "web-1", 0, 0, bound))(t)
		if len(first.Instances) != 1 || first.Revision != g.Instance.Revision {
			t.Fatalf("change %+v", first)
		}
		if quiet := must(w.Watch(t.Context(), "web-2", 0, 0, 0))(t); len(quiet.Instances) != 0 {
			t.Errorf("another node is told %+v", quiet)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			c, err := w.Watch(t.Context(), "web-1", first.Revision, first.SecretsRevision, bound)
			if err != nil || len(c.Instances) != 1 || c.Instances[0].State != identity.Revoked {
				t.Errorf("woken with %+v, %v", c, err)
			}
		})
		ok(t, w.feed("CVE-1", "example.com/lib"))
		wg.Wait()
		last := w.instance(g.Instance.ID).Revision
		wg.Go(func() {
			if c, err := w.Watch(t.Context(), "web-1", last, first.SecretsRevision, bound); err != nil || c.SecretsRevision == first.SecretsRevision {
				t.Errorf("a secret was written: %+v, %v", c, err)
			}
		})
		w.SecretsChanged()
		w.step()
		wg.Wait()
	})
}

// twoNodes makes two nodes on one PostgreSQL database.
func twoNodes(t *testing.T) (*world, *world) {
	t.Helper()
	dsn := storetest.PostgresDSN(t)
	return newWorld(t, storetest.PostgresAt(t, dsn)), newWorld(t, storetest.PostgresAt(t, dsn))
}

func TestAWatchOnAnotherNodeWakesWithinItsBeat(t *testing.T) {
	if testing.Short() {
		t.Log("short run: PostgreSQL is left to the full run")
		return
	}
	one, two := twoNodes(t)
	one.story(strict)
	g := one.admitted("app")
	start := must(two.Watch(t.Context(), "web-1", 0, 0, bound))(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := two.Watch(t.Context(), "web-1", start.Revision, start.SecretsRevision, bound)
		if err != nil || len(c.Instances) != 1 || c.Instances[0].State != identity.Revoked {
			t.Errorf("the other node was told %+v, %v", c, err)
		}
	})
	ok(t, one.feed("CVE-1", "example.com/lib"))
	wg.Wait()
	if two.tokens.valid(g.Token) {
		t.Error("the other node accepts the token")
	}
	last := one.instance(g.Instance.ID).Revision
	wg.Go(func() {
		if c, err := two.Watch(t.Context(), "web-1", last, start.SecretsRevision, bound); err != nil || c.SecretsRevision == start.SecretsRevision {
			t.Errorf("a secret was written on the other node: %+v, %v", c, err)
		}
	})
	one.SecretsChanged()
	one.step()
	wg.Wait()
}

// TestTwoNodesDecideOnce has both nodes find the same things to do.
func TestTwoNodesDecideOnce(t *testing.T) {
	if testing.Short() {
		t.Log("short run: PostgreSQL is left to the full run")
		return
	}
	one, two := twoNodes(t)
	two.audit = one.audit
	two.Service = two.service()
	one.story(strict)
	one.learnOld("app")
	one.rules("\n  admit: [{age: {max: 36500d}}]\n  onFail: revoke\n")
	const many = 12
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			node := []*world{one, two}[i%2]
			if _, err := node.admit("app"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	revisions := map[int64]bool{}
	for _, in := range must(one.List(t.Context(), identity.Query{}))(t) {
		revisions[in.Revision] = true
	}
	if len(revisions) != many {
		t.Errorf("%d revisions of %d instances", len(revisions), many)
	}
	one.rules("\n  admit: [{age: {max: 1h}}]\n  retain: [{age: {max: 1h}}]\n  onFail: revoke\n")
	for _, node := range []*world{one, two} {
		wg.Go(func() {
			if err := node.Step(t.Context()); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if err := node.Reconcile(t.Context(), []image.Digest{digest("app")}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := one.audit.count("instance.revoked"); n < many || n > 2*many {
		t.Errorf("%d instances, %d revocations recorded", many, n)
	}
	for _, in := range must(one.List(t.Context(), identity.Query{}))(t) {
		if in.State != identity.Revoked {
			t.Errorf("instance %+v", in)
		}
	}
}
