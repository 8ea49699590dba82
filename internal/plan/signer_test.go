// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/provenance"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
)

const signedBy = `
apiVersion: goldkeep.dev/v1
kind: Environment
metadata: {name: prod, owner: sec}
spec: {admit: [{signedBy: release}]}
---`

func signerText(t *testing.T) string {
	t.Helper()
	key := must(provenance.NewKey(provenance.Release, "", ""))(t).Public().PEM()
	return "\napiVersion: goldkeep.dev/v1\nkind: Signer\nmetadata: {name: release, owner: sec}\nspec:\n  publicKey: |\n    " +
		strings.ReplaceAll(strings.TrimSpace(key), "\n", "\n    ") + "\n---"
}

func TestSigners(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		w := newWorld(t, st)
		signer := signerText(t)
		_, err := w.Plan(t.Context(), documents(t, signedBy), false)
		if err == nil || !strings.Contains(err.Error(), "app.yaml:5: there is no signer release") {
			t.Errorf("a rule that names nobody: %v", err)
		}
		w.want(w.apply(signedBy+signer, false), []string{"create Signer/release", "create Environment/prod"})
		w.want(w.apply(signedBy+signer, false), []string{"unchanged Signer/release", "unchanged Environment/prod"})
		w.want(w.told, nil)
		w.want(w.apply(signerText(t), false), []string{"update Signer/release publicKey"})
		w.want(w.told, []string{"environment prod"})
		if _, err := w.Plan(t.Context(), documents(t, signedBy), true); err == nil || !strings.Contains(err.Error(), "would be pruned") {
			t.Errorf("pruning a signer that a rule names: %v", err)
		}
		w.want(w.apply(prod, true), []string{"update Environment/prod admit,onFail", "delete Signer/release"})
		_, err = w.Plan(t.Context(), documents(t, strings.Replace(signer, "BEGIN PUBLIC", "BEGIN PRIVATE", 1)), false)
		if err == nil || !strings.Contains(err.Error(), "app.yaml:6: read public key") {
			t.Errorf("no public key: %v", err)
		}
	})
}
