// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"encoding/json"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/provenance"
)

// sign plays the story of signing: keys, statements, the verdict on an admitted image,
// and a second look at one that lies in a registry.
func (c *caller) sign(admitted, pushed v1.Image, repository string) {
	c.t.Helper()
	t, root := c.t, c.root
	made := decode[client.SigningKey](t, c.call("POST /api/v1/signing-keys/{key}", root, map[string]string{"purpose": "release"}, "release"))
	if a := c.send("POST", "/api/v1/signing-keys/verdicts", root, strings.NewReader(`{"purpose":"verdict","environment":"prod"}`)); a.status != 200 {
		t.Fatalf("verdict key: %d %s", a.status, a.body)
	}
	c.refused(403, "POST", "/api/v1/signing-keys/verdicts/sign", root, `{"statement":"{}"}`)
	if shown := c.call("GET /api/v1/signing-keys/{key}", root, nil, "release"); decode[client.SigningKey](t, shown).PublicKey != made.PublicKey || strings.Contains(string(shown), "rivate") {
		t.Errorf("key %s", shown)
	}
	digest := must(pushed.Digest())(t).String()
	statement := must(provenance.NewStatement(image.Digest(digest), provenance.Approval, []byte("{}")))(t)
	text := string(must(json.Marshal(statement))(t))
	signed := decode[client.Signed](t, c.call("POST /api/v1/signing-keys/{key}/sign", root, map[string]string{"statement": text}, "release"))
	c.verifies(signed, provenance.Approval, image.Digest(digest))
	manifest := must(admitted.RawManifest())(t)
	passed := decode[client.Signed](t, c.call("POST /api/v1/environments/{name}/attest", root, map[string]string{"manifest": string(manifest), "resource": repository}, "prod"))
	c.verifies(passed, provenance.VerificationSummary, image.DigestOf(manifest))
	other := must(json.Marshal(map[string]string{"manifest": strings.Replace(string(manifest), `"layers":[`, `"layers":[ `, 1), "resource": repository}))(t)
	c.refused(404, "POST", "/api/v1/environments/prod/attest", root, string(other))
	c.call("POST /api/v1/images/{digest}/signatures", root, map[string]string{"reference": repository + "@" + digest}, digest)
	c.call("GET /api/v1/signers", root, nil)
	c.call("DELETE /api/v1/signing-keys/{key}", root, nil, "release")
	var left struct{ Items []client.SigningKey }
	if left = decode[struct{ Items []client.SigningKey }](t, c.call("GET /api/v1/signing-keys", root, nil)); len(left.Items) != 1 {
		t.Errorf("keys %+v", left)
	}
}

func (c *caller) verifies(signed client.Signed, kind string, manifest image.Digest) {
	c.t.Helper()
	b := must(provenance.ParseBundle(signed.Bundle))(c.t)
	v, err := (&provenance.Signer{Name: "k", PublicKey: signed.PublicKey}).Verify(b, manifest)
	if err != nil || v.Type != kind || signed.Type != kind {
		c.t.Errorf("%s is %+v: %v", kind, v, err)
	}
}
