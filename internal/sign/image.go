// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/provenance"
	"github.com/goldkeep/goldkeep/internal/term"
)

// ImageCommands are those of "goldkeep image" that sign and verify.
func ImageCommands(t *term.Term) []*cobra.Command {
	a := commands{t}
	return []*cobra.Command{a.signCommand(), a.attestCommand(), a.verifyCommand()}
}

func addOpenFlags(f *pflag.FlagSet, open *image.Options) {
	f.BoolVar(&open.Insecure, "insecure", false, "the registry speaks plain HTTP, which anybody on the way can change")
}

const whereLong = "IMAGE is a registry reference or an OCI layout folder. Of an image for several platforms\n" +
	"the index and every image in it get one each, as cosign --recursive does."

func (a commands) signCommand() *cobra.Command {
	var key string
	var open image.Options
	cmd := &cobra.Command{
		Use: "sign IMAGE", Short: "Approve an image: attach a signature to it", Args: term.Wanted("IMAGE"),
		Long: "Approve an image: attach a signature to it, which \"goldkeep image verify\", rules with\n" +
			"signedBy, and cosign (3.1.3 or later) verify.\n\n" + whereLong +
			"\n\nA release key signs approvals and nothing else: cosign takes any statement by a key for\none. cosign's own key files can be used too.",
		Example: "  goldkeep image sign registry.example.com/team/shop:1.2 --key release.key\n  goldkeep image sign ./layout --key server:release",
		RunE: func(cmd *cobra.Command, args []string) error {
			by, err := a.key(cmd.Context(), key)
			if err != nil {
				return err
			}
			return a.attach(cmd.Context(), args[0], open, said{provenance.Approval, []byte("{}"), by})
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "a release key: a file, or server:NAME")
	addOpenFlags(cmd.Flags(), &open)
	return term.Required(cmd, "key")
}

func (a commands) attestCommand() *cobra.Command {
	var key, kind, predicate, environment string
	var open image.Options
	cmd := &cobra.Command{
		Use: "attest IMAGE", Short: "Attach a signed statement about an image", Args: term.Wanted("IMAGE"),
		Long: "Attach a signed statement about an image: what is in it, how it was built, how its tests\n" +
			"went, or that it passed an environment's rules.\n\n" + whereLong + "\n\n" +
			"--type is sbom (CycloneDX or SPDX, as the file says), slsaprovenance, test-result, openvex,\n" +
			"or any predicate type as a URI; --predicate is the file with the predicate. With --type vsa\n" +
			"the server judges the image now; where it is admitted that is signed with the environment's\n" +
			"own key and replaces the verdict before, else that one is removed. What the server has not\n" +
			"read from there yet (it was sent as an archive, and pushed later) is brought to it first.",
		Example: "  goldkeep check ./layout -o cyclonedx > sbom.json\n" +
			"  goldkeep image attest ./layout --key ci.key --type sbom --predicate sbom.json\n" +
			"  goldkeep image attest registry.example.com/team/shop:1.2 --type vsa --env prod",
		RunE: func(cmd *cobra.Command, args []string) error {
			if kind == "vsa" {
				if key != "" || predicate != "" || environment == "" {
					return term.Usage(cmd, "a verdict is the server's: give --env and neither --key nor --predicate")
				}
				return a.attestVerdict(cmd.Context(), args[0], open, environment)
			}
			if key == "" || predicate == "" {
				return term.Usage(cmd, "--key and --predicate are needed")
			}
			text, err := a.readFile(predicate)
			if err != nil {
				return err
			}
			uri, err := predicateType(kind, text)
			if err != nil {
				return err
			}
			by, err := a.key(cmd.Context(), key)
			if err != nil {
				return err
			}
			return a.attach(cmd.Context(), args[0], open, said{uri, text, by})
		},
	}
	f := cmd.Flags()
	f.StringVar(&key, "key", "", "an attestation key: a file, or server:NAME")
	f.StringVar(&kind, "type", "", "sbom, slsaprovenance, test-result, openvex, vsa, or a URI")
	f.StringVar(&predicate, "predicate", "", "file with the predicate (JSON), or - for standard input")
	f.StringVar(&environment, "env", "", "with --type vsa: the environment whose verdict to sign")
	addOpenFlags(f, &open)
	return term.Required(cmd, "type")
}

// maxPredicate bounds the file of a predicate, in bytes.
const maxPredicate = 11 << 20

func (a commands) readFile(name string) ([]byte, error) {
	from := a.In
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fault.New(fault.NotFound, "read predicate: %w", err)
		}
		defer func() { _ = f.Close() }()
		from = f
	}
	text, err := io.ReadAll(io.LimitReader(from, maxPredicate+1))
	if err != nil {
		return nil, fault.New(fault.Invalid, "read predicate: %w", err)
	}
	if len(text) > maxPredicate {
		return nil, fault.New(fault.TooLarge, "the predicate has more than %d bytes", maxPredicate)
	}
	return text, nil
}

// predicateType is the URI of a type given by a short name.
func predicateType(kind string, predicate []byte) (string, error) {
	switch kind {
	case "sbom":
		var doc struct {
			BOMFormat   string `json:"bomFormat"`
			SPDXVersion string `json:"spdxVersion"`
		}
		if err := json.Unmarshal(predicate, &doc); err == nil && doc.BOMFormat == "CycloneDX" {
			return provenance.CycloneDX, nil
		}
		if doc.SPDXVersion != "" {
			return provenance.SPDX, nil
		}
		return "", fault.New(fault.Invalid, "the predicate is neither CycloneDX nor SPDX (JSON)").WithHint("goldkeep check IMAGE -o cyclonedx makes one")
	case "slsaprovenance":
		return provenance.SLSAProvenance, nil
	case "test-result":
		return provenance.TestResult, nil
	case "openvex":
		return provenance.OpenVEX, nil
	}
	if !strings.Contains(kind, ":") {
		return "", fault.New(fault.Invalid, "the type %.80q is not known", kind).WithHint("use sbom, slsaprovenance, test-result, openvex, vsa, or a URI")
	}
	return kind, nil
}

// attestVerdict replaces the live verdict on an image, or removes it.
func (a commands) attestVerdict(ctx context.Context, ref string, open image.Options, environment string) error {
	c, err := a.Client()
	if err != nil {
		return err
	}
	public, err := verdictKey(ctx, c, environment)
	if err != nil {
		return err
	}
	shelf, err := image.OpenShelf(ctx, ref, open)
	if err != nil {
		return err
	}
	defer func() { _ = shelf.Close() }()
	server := &serverVerdict{
		ctx: func() context.Context { return ctx }, client: c, environment: environment, resource: shelf.Name,
		bring: sync.OnceValue(func() error { return lying{a, c, shelf, ref, open}.bring(ctx) }),
	}
	made, err := provenance.Saying{By: server, At: time.Now(), Say: server.say}.Replace(ctx, shelf, public)
	if fault.Is(err, fault.Refused) || client.KindOf(err) == fault.Refused.String() {
		return errors.Join(err, provenance.Withdraw(ctx, shelf, public))
	}
	if err != nil {
		return err
	}
	return a.report(shelf, ref, provenance.VerificationSummary, made)
}
