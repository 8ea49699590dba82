// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"slices"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/provenance"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// signingOperations are about signatures: who is believed, the server's own keys, and
// what it signs with them.
func (e *Engine) signingOperations() []operation {
	return []operation{
		{
			method: "GET", path: "/api/v1/signers", summary: "List the signers whose signatures count",
			do: e.listSigners, out: items[client.Signer]{}, sealed: true,
		},
		{
			method: "POST", path: "/api/v1/images/{digest}/signatures", summary: "Look again for what is attached to an image in a registry",
			do: e.lookForSignatures, in: askRequest{}, out: client.Image{},
		},
		{
			method: "GET", path: "/api/v1/signing-keys", summary: "List the server's signing keys",
			do: e.listKeys, out: items[client.SigningKey]{},
		},
		{
			method: "GET", path: "/api/v1/signing-keys/{key}", summary: "Show a signing key: its purpose and public half",
			do: e.showKey, out: client.SigningKey{},
		},
		{
			method: "POST", path: "/api/v1/signing-keys/{key}", summary: "Make a signing key",
			do: e.createKey, in: keyRequest{}, out: client.SigningKey{},
		},
		{
			method: "DELETE", path: "/api/v1/signing-keys/{key}", summary: "Remove a signing key for ever",
			do: e.deleteKey,
		},
		{
			method: "POST", path: "/api/v1/signing-keys/{key}/sign", summary: "Sign a statement with a key whose purpose it is",
			do: e.signStatement, in: statementRequest{}, out: client.Signed{},
		},
		{
			method: "POST", path: "/api/v1/environments/{name}/attest", summary: "Judge an image now and, where it is admitted, sign that",
			do: e.attestVerdict, in: verdictRequest{}, out: client.Signed{},
		},
	}
}

type keyRequest struct {
	Purpose     string `json:"purpose"`               // release, attestation, verdict
	Environment string `json:"environment,omitempty"` // of a verdict key
	Algorithm   string `json:"algorithm,omitempty"`   // ecdsa-p256 (the default), ed25519
}

type statementRequest struct {
	Statement string `json:"statement"` // JSON text of an in-toto statement
}

type verdictRequest struct {
	Manifest string `json:"manifest"` // text of the image's manifest or index
	Resource string `json:"resource"` // HOST/REPOSITORY it lies in; "": none
}

func (e *Engine) listSigners(ctx context.Context, _ *call) (any, error) {
	return listOf(e.o.Catalog.Signers(ctx))
}

func (e *Engine) listKeys(ctx context.Context, _ *call) (any, error) {
	return listOf(e.o.Keys.List(ctx))
}

func (e *Engine) showKey(ctx context.Context, c *call) (any, error) {
	return e.o.Keys.Find(ctx, c.vars["key"])
}

func (e *Engine) createKey(ctx context.Context, c *call) (any, error) {
	in, err := decode[keyRequest](c)
	if err != nil {
		return nil, err
	}
	if in.Environment != "" {
		if _, err := e.o.Catalog.Environment(ctx, in.Environment); err != nil {
			return nil, err
		}
	}
	return e.o.Keys.Create(ctx, provenance.Held{
		Name: c.vars["key"], Purpose: provenance.Purpose(in.Purpose), Environment: in.Environment, Algorithm: provenance.Algorithm(in.Algorithm),
	})
}

func (e *Engine) deleteKey(ctx context.Context, c *call) (any, error) {
	return nil, e.o.Keys.Delete(ctx, c.vars["key"])
}

// signStatement signs what a client says. A verdict is nobody's to say but the server's.
func (e *Engine) signStatement(ctx context.Context, c *call) (any, error) {
	in, err := decode[statementRequest](c)
	if err != nil {
		return nil, err
	}
	key, err := e.o.Keys.Find(ctx, c.vars["key"])
	if err != nil {
		return nil, err
	}
	if key.Purpose == provenance.Verdict {
		return nil, fault.New(fault.Denied, "the key %s signs the server's own verdicts only", key.Name).
			WithHint("goldkeep image attest IMAGE --type vsa --env %s", key.Environment)
	}
	statement, err := provenance.ParseStatement([]byte(in.Statement))
	if err != nil {
		return nil, err
	}
	return signed(key, statement)
}

func signed(key *provenance.Held, s *provenance.Statement) (any, error) {
	bundle, err := key.Sign(s)
	if err != nil {
		return nil, err
	}
	return client.Signed{Bundle: bundle, Type: s.PredicateType, PublicKey: key.PublicKey}, nil
}

// attestVerdict signs that an image passes, now. The manifest is sent along since its
// digest alone does not say what is in it: of an index every image must pass.
func (e *Engine) attestVerdict(ctx context.Context, c *call) (any, error) {
	in, err := decode[verdictRequest](c)
	if err != nil {
		return nil, err
	}
	env, err := e.o.Catalog.Environment(ctx, c.vars["name"])
	if err != nil {
		return nil, err
	}
	key, err := e.o.Keys.ForVerdicts(ctx, env.Name)
	if err != nil {
		return nil, err
	}
	ids, err := e.imagesIn(ctx, []byte(in.Manifest))
	if err != nil {
		return nil, err
	}
	said := provenance.Summary{Verifier: e.o.Verifier, Time: c.Now, Environment: env.Name, ResourceName: in.Resource}
	for i, id := range ids {
		v, err := e.passes(ctx, c, id, env)
		if err != nil {
			return nil, err
		}
		channels, err := e.o.Catalog.Channels(ctx, id)
		if err != nil {
			return nil, err
		}
		said.Rules, said.Evidence = v.Hashes.Rules, v.Hashes.Evidence
		said.Levels = levels(said.Levels, channels, i == 0)
	}
	statement, err := said.On(image.Subject{Digest: image.DigestOf([]byte(in.Manifest))})
	if err != nil {
		return nil, err
	}
	return signed(key, statement)
}

// levels are the channels all images stand in.
func levels(so []string, channels []verdict.Channel, first bool) []string {
	var both []string
	for _, ch := range channels {
		if first || slices.Contains(so, ch.Name) {
			both = append(both, ch.Name)
		}
	}
	return both
}

// imagesIn returns the IDs of the image, or of the images, a manifest stands for. All
// must be known.
func (e *Engine) imagesIn(ctx context.Context, manifest []byte) ([]image.Digest, error) {
	config, images, err := image.Contained(manifest)
	if err != nil {
		return nil, err
	}
	if config != "" {
		return e.oneImage(ctx, manifest, config)
	}
	var ids []image.Digest
	for _, digest := range images {
		known, err := e.o.Catalog.Known(ctx, digest)
		if err != nil {
			return nil, err
		}
		if len(known) != 1 {
			return nil, fault.New(fault.NotFound, "the image %s of the index has not been scanned", digest).
				WithHint("bring it with: goldkeep image add NAME@%s", digest)
		}
		ids = append(ids, known[0])
	}
	return ids, nil
}

// oneImage makes sure that a manifest is one the image was read by: any manifest may
// name the config of an image that passes, beside layers nobody has looked into.
func (e *Engine) oneImage(ctx context.Context, manifest []byte, config image.Digest) ([]image.Digest, error) {
	digest := image.DigestOf(manifest)
	known, err := e.o.Catalog.Known(ctx, digest)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(known, config) {
		return nil, fault.New(fault.NotFound, "the server has not read the image %s by the manifest %s", config, digest).
			WithHint("bring it from where it lies now: goldkeep image add NAME@%s", digest)
	}
	return []image.Digest{config}, nil
}

func (e *Engine) passes(ctx context.Context, c *call, id image.Digest, env *verdict.Environment) (verdict.Verdict, error) {
	img, err := e.o.Catalog.Find(ctx, id)
	if fault.Is(err, fault.NotFound) {
		img, err = &catalog.Image{ID: id, State: catalog.Wanted}, nil
	}
	if err != nil {
		return verdict.Verdict{}, err
	}
	v, err := e.o.Catalog.Judge(ctx, img, *env, c.Now)
	if err == nil && !v.Admitted() {
		err = fault.New(fault.Refused, "image %s is not admitted in %s, so that it passed is not signed", id, env.Name).
			WithHint("see why with: goldkeep verdict %s --env %s", id, env.Name)
	}
	return v, err
}

// lookForSignatures reads again what is attached to a known image, without scanning it.
func (e *Engine) lookForSignatures(ctx context.Context, c *call) (any, error) {
	digest, reference, err := c.reference()
	if err != nil {
		return nil, err
	}
	known, err := e.o.Catalog.Known(ctx, digest)
	if err != nil {
		return nil, err
	}
	if len(known) == 0 {
		return nil, fault.New(fault.NotFound, "the server has never seen an image %s", digest).WithHint("bring it with: goldkeep image add %s", reference)
	}
	done, err := e.turn(ctx, e.scans)
	if err != nil {
		return nil, err
	}
	defer done()
	found, err := e.o.Catalog.Find(ctx, known[0])
	if err != nil {
		return nil, err
	}
	img, err := image.Open(ctx, "registry:"+reference, image.Options{Limits: e.o.Limits, Platform: platformOf(found)})
	if err != nil {
		return nil, err
	}
	defer func() { _ = img.Close() }()
	attached, err := img.Attached(ctx)
	if err != nil {
		return nil, err
	}
	if img.ID != found.ID {
		return nil, fault.New(fault.Invalid, "in the registry this is the image %s, not %s", img.ID, found.ID)
	}
	if err := e.o.Catalog.Attach(ctx, img, attached, true); err != nil {
		return nil, err
	}
	if err := e.o.Identity.Reconcile(ctx, []image.Digest{img.ID}); err != nil {
		return nil, err
	}
	if found, err = e.o.Catalog.Find(ctx, img.ID); err != nil {
		return nil, err
	}
	return e.describe(ctx, found)
}

func platformOf(img *catalog.Image) string {
	if img.Evidence == nil {
		return ""
	}
	return img.Evidence.Image.Platform
}

// keepAttached keeps what is attached to an image. Where the list cannot be read the
// image is kept all the same: its signatures are then what they were.
func (e *Engine) keepAttached(ctx context.Context, img *image.Image, whole bool) error {
	attached, err := img.Attached(ctx)
	if err != nil {
		e.o.Log.Warn("look for signatures of an image", "image", img.ID, "error", err)
		return nil
	}
	return e.o.Catalog.Attach(ctx, img, attached, whole)
}
