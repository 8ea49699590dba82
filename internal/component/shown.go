// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component

import (
	"maps"

	"github.com/goldkeep/goldkeep/internal/leak"
)

// NotShown stands where a credential would stand.
const NotShown = "(not shown: a credential)"

// ShownLabels returns an image's labels as they may be kept and shown: those in
// which a credential was found, by the facts or by looking now, have lost their
// values. The original is not changed.
func ShownLabels(labels map[string]string, facts []Fact) map[string]string {
	shown := maps.Clone(labels)
	found := map[string]bool{}
	for _, f := range facts {
		if f.Kind == EmbeddedSecret {
			found[f.Path] = true
		}
	}
	for name, value := range labels {
		if found["label "+safeText(name)] || Shown(value) != value {
			shown[name] = NotShown
		}
	}
	return shown
}

// Shown returns a text of an image as it may be kept and shown: one that holds a
// credential is replaced.
func Shown(text string) string {
	if len(leak.In([]byte(text))) > 0 {
		return NotShown
	}
	return text
}
