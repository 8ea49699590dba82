// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package catalog_test

import (
	"fmt"
	"testing"

	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/provenance"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

const signedProd = `
apiVersion: goldkeep.dev/v1
kind: Environment
metadata: {name: prod, owner: sec}
spec: {admit: [{signedBy: release}]}
`

// bundle is a statement by a key about a manifest, as it is found attached.
func bundle(t *testing.T, key *provenance.Key, manifest image.Digest, predicateType, predicate string) image.Referrer {
	t.Helper()
	s := must(provenance.NewStatement(manifest, predicateType, []byte(predicate)))(t)
	body := must(key.Sign(s))(t)
	return image.Referrer{Subject: manifest, Digest: image.DigestOf(append([]byte("referrer "), body...)), Body: body}
}

// TestSignaturesDecide: what is attached to a manifest is verified against the signers
// of now, and the verdict is due whenever either changes.
func TestSignaturesDecide(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c, ctx := open(t, st), t.Context()
		learn(t, c, "a")
		env := environment(t, signedProd)
		ok(t, c.PutEnvironment(ctx, env, false))
		release, other := must(provenance.NewKey(provenance.Release, "", ""))(t), must(provenance.NewKey(provenance.Release, "", ""))(t)
		signer := &provenance.Signer{Name: "release", Owner: "sec", PublicKey: release.Public().PEM()}
		pair := catalog.Pair{Image: digest("a"), Environment: "prod"}
		answer := func(want verdict.Answer) {
			t.Helper()
			turn := must(c.Turn(ctx, pair))(t)
			v := must(c.Judge(ctx, find(t, c, digest("a")), env, st.Now()))(t)
			if v.Admit.Answer != want {
				t.Errorf("admit = %s, want %s: %+v", v.Admit.Answer, want, v.Admit.Reasons)
			}
			ok(t, c.Keep(ctx, v, turn))
			if due := must(c.Due(ctx, "", st.Now(), 10))(t); len(due) != 0 {
				t.Errorf("due after it was kept: %v", due)
			}
		}
		due := func(what string) {
			t.Helper()
			if d := must(c.Due(ctx, "", st.Now(), 10))(t); len(d) != 1 {
				t.Errorf("%s: due %v", what, d)
			}
		}
		here := &image.Image{ID: digest("a"), Manifests: []image.Digest{digest("a manifest")}}
		answer(verdict.Unknown) // nobody has looked
		ok(t, c.Attach(ctx, here, nil, true))
		answer(verdict.Unknown)
		ok(t, c.Attach(ctx, here, []image.Referrer{}, true))
		due("looked for signatures")
		answer(verdict.No)
		ok(t, c.Attach(ctx, here, []image.Referrer{bundle(t, release, digest("a manifest"), provenance.Approval, "{}")}, true))
		answer(verdict.No) // nobody is believed yet
		if envs := must(c.PutSigner(ctx, signer))(t); len(envs) != 1 || envs[0] != "prod" {
			t.Errorf("the signer concerns %v", envs)
		}
		due("a signer was declared")
		answer(verdict.Yes)
		if ev := must(c.EvidenceIn(ctx, find(t, c, digest("a")), &env))(t); len(ev.Signers) != 1 || ev.Signers[0].Owner != "sec" {
			t.Errorf("the evidence does not say who the signer is: %+v", ev.Signers)
		}
		again := open(t, st) // another node, nothing in its memory
		if found := must(again.Signatures(ctx, digest("a")))(t); len(found) != 1 || found[0].Signer != "release" || found[0].Manifest != string(digest("a manifest")) {
			t.Errorf("signatures %+v", found)
		}
		// An archive brings no less than what was there; the registry is believed whole.
		ok(t, c.Attach(ctx, here, []image.Referrer{bundle(t, other, digest("a manifest"), provenance.Approval, "{}")}, false))
		answer(verdict.Yes)
		ok(t, c.Attach(ctx, here, []image.Referrer{bundle(t, other, digest("a manifest"), provenance.Approval, "{}")}, true))
		due("the signature is gone")
		answer(verdict.No)
		// A key that changes hands: the same name, another key.
		must(c.PutSigner(ctx, &provenance.Signer{Name: "release", Owner: "sec", PublicKey: other.Public().PEM()}))(t)
		answer(verdict.Yes)
		must(c.DeleteSigner(ctx, "release"))(t)
		due("the signer was deleted")
		answer(verdict.No)
	})
}

func TestASignatureBelongsToItsManifest(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		c, ctx := open(t, st), t.Context()
		learn(t, c, "a")
		release, facts := must(provenance.NewKey(provenance.Release, "", ""))(t), must(provenance.NewKey(provenance.Attestation, "", ""))(t)
		must(c.PutSigner(ctx, &provenance.Signer{Name: "release", PublicKey: release.Public().PEM()}))(t)
		must(c.PutSigner(ctx, &provenance.Signer{Name: "tests", PublicKey: facts.Public().PEM()}))(t)
		moved := bundle(t, release, digest("b manifest"), provenance.Approval, "{}")
		moved.Subject = digest("a manifest") // put beside another image
		result := bundle(t, facts, digest("a manifest"), provenance.TestResult, `{"result":"FAILED"}`)
		broken := image.Referrer{Subject: digest("a manifest"), Body: []byte("no bundle")}
		ok(t, c.Attach(ctx, &image.Image{ID: digest("a"), Manifests: []image.Digest{digest("a manifest")}}, []image.Referrer{moved, result, broken}, true))
		found := must(c.Signatures(ctx, digest("a")))(t)
		if len(found) != 1 || found[0].Signer != "tests" || found[0].Result != "FAILED" || found[0].Type != provenance.TestResult {
			t.Errorf("signatures %+v", found)
		}
		var many []image.Referrer
		for i := range 65 {
			many = append(many, image.Referrer{Subject: digest("a manifest"), Body: fmt.Append(nil, i)})
		}
		wantKind(t, c.Attach(ctx, &image.Image{ID: digest("a")}, many, false), fault.TooLarge)
		if left := must(c.Signatures(ctx, digest("a")))(t); len(left) != 1 {
			t.Errorf("after too many: %+v", left)
		}
	})
}
