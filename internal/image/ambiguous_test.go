// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
)

// TestContained: what a runtime could run counts as an image, whatever it is called.
func TestContained(t *testing.T) {
	a, b := image.DigestOf([]byte("a")), image.DigestOf([]byte("b"))
	entry := func(d image.Digest, more string) string { return fmt.Sprintf(`{"digest":%q%s}`, d, more) }
	index := func(entries ...string) string { return `{"manifests":[` + strings.Join(entries, ",") + `]}` }
	linux, unknown := `,"platform":{"os":"linux","architecture":"amd64"}`, `,"platform":{"os":"unknown","architecture":"unknown"}`
	note := `,"annotations":{"vnd.docker.reference.type":"attestation-manifest"}`
	for name, tt := range map[string]struct {
		doc  string
		want []image.Digest
	}{
		"two images":                        {index(entry(a, linux), entry(b, linux)), []image.Digest{a, b}},
		"an attestation of BuildKit's":      {index(entry(a, linux), entry(b, unknown+note)), []image.Digest{a}},
		"an image that is called something": {index(entry(a, linux), entry(b, linux+note)), []image.Digest{a, b}},
		"an image of an artifact's type":    {index(entry(a, linux), entry(b, `,"artifactType":"application/x"`)), []image.Digest{a, b}},
		"an index that is a manifest":       {`{"config":` + entry(b, "") + `,"layers":[],"manifests":[` + entry(a, linux) + `]}`, nil},
	} {
		config, images, err := image.Contained([]byte(tt.doc))
		if config != "" || !slices.Equal(images, tt.want) || fault.Is(err, fault.Invalid) != (tt.want == nil) {
			t.Errorf("%s: %q, %q, %v", name, config, images, err)
		}
	}
}

func TestAnIndexThatIsAManifestIsRefused(t *testing.T) {
	dir := layoutOf(t, nil, sample(t, "amd64"))
	at := filepath.Join(dir, "index.json")
	text := must[[]byte](t)(os.ReadFile(at))
	digest := image.DigestOf([]byte("config"))
	text = bytes.Replace(text, []byte(`{`), fmt.Appendf(nil, `{"config":{"digest":%q},`, digest), 1)
	if err := os.WriteFile(at, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := image.Open(t.Context(), dir, image.Options{}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "at once") {
		t.Errorf("%v", err)
	}
}
