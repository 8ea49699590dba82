// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"context"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/manifest"
	"github.com/goldkeep/goldkeep/internal/provenance"
	"github.com/goldkeep/goldkeep/internal/term"
)

type verifyFlags struct {
	keys                             []string
	identity, pattern, issuer, trust string
	files                            []string
	kind                             string
	server                           bool
	open                             image.Options
}

func (a commands) verifyCommand() *cobra.Command {
	var o verifyFlags
	cmd := &cobra.Command{
		Use: "verify IMAGE", Short: "Verify who has signed an image", Args: term.Wanted("IMAGE"),
		Long: "Verify who has signed an image; the exit code is 3 where nobody asked for has. IMAGE is a\n" +
			"registry reference, an OCI layout folder or an OCI archive.\n\n" +
			"Signers are public keys (--key, any of several), a certificate's identity with its issuer\n" +
			"and a trust root (offline: the trusted_root.json of a Sigstore instance; log entries,\n" +
			"certificate and signing timestamps are demanded where the trust root names who makes them),\n" +
			"or documents of the kind Signer (-f). Without --type approvals are asked for; an\n" +
			"attestation is none. The cosign command that verifies the same is printed.\n\n" +
			"With --in-server the server looks again for what is attached to the image.",
		Example: "  goldkeep image verify registry.example.com/team/shop:1.2 --key release.pub\n" +
			"  goldkeep image verify ./layout --key ci.pub --type sbom\n" +
			"  goldkeep image verify ghcr.io/team/app:1 --identity-pattern 'https://github.com/team/app/.*' \\\n" +
			"    --issuer https://token.actions.githubusercontent.com --trusted-root trusted_root.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.server {
				return a.lookInServer(cmd.Context(), args[0], o.open)
			}
			signers, err := a.signers(o)
			if err != nil {
				return err
			}
			if len(signers) == 0 {
				return term.Usage(cmd, "say whose signature counts: --key, --identity, or -f with Signers")
			}
			return a.verify(cmd.Context(), args[0], signers, o)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.keys, "key", nil, "file with a public key; may be given again")
	f.StringVar(&o.identity, "identity", "", "identity in the certificate, exactly")
	f.StringVar(&o.pattern, "identity-pattern", "", "regular expression for the whole identity")
	f.StringVar(&o.issuer, "issuer", "", "OIDC issuer in the certificate")
	f.StringVar(&o.trust, "trusted-root", "", "file with the trust root (trusted_root.json)")
	f.StringArrayVarP(&o.files, "file", "f", nil, "a file or folder with Signer documents")
	f.StringVar(&o.kind, "type", "", "ask for a statement of this type instead: sbom, slsaprovenance, test-result, openvex, vsa, a URI, or any")
	f.BoolVar(&o.server, "in-server", false, "have the server look again instead")
	addOpenFlags(f, &o.open)
	return cmd
}

// signers are those the flags name. A key's signer is called by its file.
func (a commands) signers(o verifyFlags) ([]*provenance.Signer, error) {
	var all []*provenance.Signer
	for _, name := range o.keys {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, fault.New(fault.NotFound, "read public key: %w", err)
		}
		all = append(all, &provenance.Signer{Name: name, PublicKey: string(text)})
	}
	if o.identity != "" || o.pattern != "" || o.issuer != "" || o.trust != "" {
		root, err := os.ReadFile(o.trust)
		if err != nil {
			return nil, fault.New(fault.NotFound, "read trust root: %w", err).WithHint("name one with --trusted-root")
		}
		all = append(all, &provenance.Signer{
			Name: term.First(o.identity, o.pattern), Identity: o.identity, IdentityPattern: o.pattern, Issuer: o.issuer, TrustRoot: string(root),
		})
	}
	if len(o.files) > 0 {
		docs, err := manifest.ReadPaths(a.In, o.files...)
		if err != nil {
			return nil, err
		}
		more, err := provenance.SignersIn(docs)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	for _, s := range all {
		if err := s.Check(); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// found is one verified statement, as shown.
type found struct {
	Signer   string       `json:"signer"`
	Type     string       `json:"type"`
	Manifest image.Digest `json:"manifest"`
	Result   string       `json:"result,omitempty"`
	Identity string       `json:"identity,omitempty"`
	Issuer   string       `json:"issuer,omitempty"`
	Time     string       `json:"time,omitempty"`
	Cosign   string       `json:"cosign,omitempty"` // the command that verifies the same
}

func (a commands) verify(ctx context.Context, ref string, signers []*provenance.Signer, o verifyFlags) error {
	attached, err := attachedTo(ctx, ref, o.open)
	if err != nil {
		return err
	}
	verified, odd := provenance.VerifyAll(attached, signers)
	for _, line := range odd {
		a.Warn("%s", term.Printable(line))
	}
	var all []found
	for _, v := range verified {
		if !o.wants(v.Type) {
			continue
		}
		f := found{v.Signer, v.Type, v.Manifest, v.Result, v.Identity, v.Issuer, term.Moment(v.Time), o.cosign(ref, v)}
		if v.Time.IsZero() {
			f.Time = ""
		}
		all = append(all, f)
	}
	if len(all) == 0 {
		return fault.New(fault.Refused, "%s: no %s by the signers asked for; %d bundles are attached", ref, o.what(), len(attached)).
			WithHint("see all that verifies with: --type any; signatures of cosign before v3 (.sig tags) are not read: sign again with cosign v3")
	}
	err = a.Print(all, func(t *term.Table) {
		t.Row("SIGNER", "TYPE", "MANIFEST", "RESULT", "TIME")
		for _, f := range all {
			t.Row(f.Signer, f.Type, f.Manifest, f.Result, f.Time)
		}
	})
	if a.Output != "json" && all[0].Cosign != "" {
		a.Note("the same with cosign: %s", all[0].Cosign)
	}
	return err
}

// attachedTo reads what is attached to what a reference names: of an index, to the index.
func attachedTo(ctx context.Context, ref string, open image.Options) ([]image.Referrer, error) {
	shelf, err := image.OpenShelf(ctx, ref, open)
	if err == nil {
		defer func() { _ = shelf.Close() }()
		return shelf.Attached(ctx, shelf.Subjects[0].Digest)
	}
	if !fault.Is(err, fault.Unsupported) {
		return nil, err
	}
	img, err := image.Open(ctx, ref, open)
	if err != nil {
		return nil, err
	}
	defer func() { _ = img.Close() }()
	attached, err := img.Attached(ctx)
	if err == nil && attached == nil {
		err = fault.New(fault.Unsupported, "%s: nothing can be attached there", ref).WithHint("signatures lie in registries, OCI layouts and OCI archives")
	}
	return attached, err
}

func (o verifyFlags) wants(said string) bool {
	switch o.kind {
	case "":
		return said == provenance.Approval
	case "any":
		return true
	case "sbom":
		return said == provenance.CycloneDX || said == provenance.SPDX
	case "vsa":
		return said == provenance.VerificationSummary
	}
	uri, err := predicateType(o.kind, nil)
	return err == nil && uri == said
}

func (o verifyFlags) what() string {
	if o.kind == "" {
		return "approval"
	}
	return "statement of the type " + o.kind
}

// cosign is the command line of cosign 3.1.3 that verifies the same; "" where it cannot.
func (o verifyFlags) cosign(ref string, v provenance.Verified) string {
	words := []string{"cosign", "verify"}
	if v.Type != provenance.Approval {
		words = []string{"cosign", "verify-attestation", "--type", v.Type}
	}
	switch {
	case v.Identity != "" && o.trust == "":
		return "" // the trust root stands in a document
	case v.Identity != "":
		words = append(words, "--certificate-identity", v.Identity, "--certificate-oidc-issuer", v.Issuer, "--trusted-root", o.trust)
	case len(o.keys) == 0:
		return ""
	default:
		words = append(words, "--key", v.Signer, "--insecure-ignore-tlog")
	}
	if info, err := os.Stat(strings.TrimPrefix(ref, "oci:")); err == nil {
		if !info.IsDir() {
			return ""
		}
		words = append(words, "--local-image")
	} else if o.open.Insecure {
		words = append(words, "--allow-http-registry")
	}
	words = append(words, strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(ref, "docker://"), "registry:"), "oci:"))
	for i, w := range words {
		if strings.ContainsAny(w, " '\"$*?&;<>|()") {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// lookInServer has the server read again what is attached to the images it knows.
func (a commands) lookInServer(ctx context.Context, ref string, open image.Options) error {
	c, err := a.Client()
	if err != nil {
		return err
	}
	shelf, err := image.OpenShelf(ctx, ref, open)
	if err != nil {
		return err
	}
	defer func() { _ = shelf.Close() }()
	if shelf.Name == "" {
		return fault.New(fault.Unsupported, "the server looks in registries; %s is a folder", ref).WithHint("goldkeep image add %s brings it with what is attached", ref)
	}
	digest := string(shelf.Subjects[0].Digest)
	img, err := c.LookForSignatures(ctx, digest, shelf.Name+"@"+digest)
	if err != nil {
		return err
	}
	return a.Print(img, func(t *term.Table) {
		t.Row("name", img.Name)
		t.Row("digest", img.ID)
		for _, v := range img.Verdicts {
			t.Row("admitted in "+v.Environment, string(v.Admit.Answer))
		}
	})
}
