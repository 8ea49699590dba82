// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/manifest"
	"github.com/goldkeep/goldkeep/internal/provenance"
	"github.com/goldkeep/goldkeep/internal/report"
	"github.com/goldkeep/goldkeep/internal/sbom"
	"github.com/goldkeep/goldkeep/internal/scan"
	"github.com/goldkeep/goldkeep/internal/verdict"

	"github.com/goldkeep/goldkeep/internal/term"
)

// checkFlags are the flags of check.
type checkFlags struct {
	environment string
	files       []string
	db, at      string
	all         bool
	noCache     bool
	signers     []*provenance.Signer // of the files
	vex         []string
	server      bool
	open        image.Options
	lint        lintFlags
	bill        sbom.Limits
}

func (a *app) checkCommand() *cobra.Command {
	var o checkFlags
	cmd := &cobra.Command{
		Use: "check IMAGE", Short: "Check an image against rules; needs no server", Args: func(cmd *cobra.Command, args []string) error {
			if o.lint.file != "" && len(args) == 0 {
				return nil
			}
			return term.Wanted("IMAGE")(cmd, args)
		},
		Long: `Check an image against rules: what is in it, what is known to be wrong with that, and
whether it may run in an environment. Needs no server. The exit code is 3 where it may not.

IMAGE is one of
  app.oci.tar, app.tar.gz   an OCI or docker-save archive
  ./layout                  an OCI image layout folder
  podman:NAME, docker:NAME  an image in the local store
  ./bin/worker              an executable file
  HOST/NAME:TAG             an image in a registry
  sbom:FILE, bom.cdx.json   a bill of materials of any tool (CycloneDX, SPDX in JSON)
oci:, archive:, file: or registry: before it says which, where a name could be two things.

The rules are those of an Environment in the files given with -f (docs/rules.md), or else
built-in ones: nothing known to be exploited, nothing of high severity that has a fix, no
credentials in the image. Known vulnerabilities come from a local database, which
"goldkeep advisory sync" makes. What was read of a layer is kept, so that the next image
on the same base is checked at once.

With --dockerfile a Dockerfile is checked instead, before anything is built: what it is
built on, credentials, root, versions (docs/dockerfile.md). The exit code is 3 where a
rule of high severity is broken.`,
		Example: `  goldkeep check ./app.oci.tar
  goldkeep check podman:shop:1.2 -f environments/ --env prod
  goldkeep check registry.example.com/team/shop:1.2 -o sarif > goldkeep.sarif
  goldkeep check ./app.oci.tar --server --env prod   # by the server's rules; it keeps the image
  goldkeep check --dockerfile Dockerfile --context .
  goldkeep check sbom:app.cdx.json -f environments/ --env prod
  goldkeep check ./app.oci.tar -o json | jq -r '.findings[].id'`,
		Annotations: map[string]string{term.Formats: "cyclonedx spdx sarif"},
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.lint.file != "" && len(args) > 0 {
				return term.Usage(cmd, "--dockerfile checks a file instead of an image: leave %s out", args[0])
			}
			if o.lint.file != "" {
				return a.lint(o)
			}
			if o.server {
				return a.checkRemotely(cmd, args[0], o)
			}
			return a.check(cmd, args[0], o)
		},
	}
	o.addFlags(cmd)
	return cmd
}

func (o *checkFlags) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.environment, "env", "", "name of the environment to judge by; needed where -f holds several")
	f.StringArrayVarP(&o.files, "file", "f", nil, "a file or folder with Environment (and Signer) documents, or - for standard input; may be given again")
	f.StringVar(&o.at, "at", "", "judge as of this time (2026-01-31 or 2026-01-31T12:00:00Z); default: now")
	f.BoolVar(&o.all, "all", false, "show every finding, those that do not count too, and all evidence")
	f.BoolVar(&o.server, "server", false, "have the server judge by its advisories and rules; only layers it does not know are sent")
	f.StringArrayVar(&o.vex, "vex", nil, "a VEX document for this image (OpenVEX, CycloneDX, CSAF): what it says not to count does not; may be given again")
	f.BoolVar(&o.noCache, "no-cache", false, "neither use nor keep what was read of layers")
	f.StringVar(&o.open.Platform, "platform", "", "which image of several, as in linux/arm64; default: the only one, or this machine's")
	f.StringVar(&o.open.PodmanSocket, "podman-socket", "", "socket of podman (default: where podman puts it)")
	f.StringVar(&o.open.DockerSocket, "docker-socket", "", "socket of docker (default: where docker puts it)")
	f.BoolVar(&o.open.Insecure, "insecure", false, "the registry speaks plain HTTP, which anybody on the way can change")
	o.lint.addFlags(cmd)
	addBillFlags(cmd, &o.bill)
	addDatabaseFlag(cmd, &o.db)
	addLimitFlags(cmd, &o.open.Limits)
}

// check is the whole way from a reference to an exit code.
func (a *app) check(cmd *cobra.Command, ref string, o checkFlags) error {
	ctx := cmd.Context()
	now, err := o.now(cmd)
	if err != nil {
		return err
	}
	environment, err := a.environment(cmd, &o)
	if err != nil {
		return err
	}
	evidence, err := a.evidence(ctx, ref, o, now)
	if err != nil {
		return err
	}
	if evidence.Image.Kind == verdict.Bill && len(o.files) == 0 {
		*environment = verdict.DefaultForBill()
	}
	judged := verdict.Evaluate(*environment, evidence, now)
	result := report.Result{Evidence: evidence, Verdict: &judged, Time: now, Version: a.version().Version}
	if err := report.Write(a.Out, a.Output, result, a.tableOptions(o)); err != nil {
		return err
	}
	if !judged.Admitted() {
		return term.Answered(term.ExitRefused)
	}
	return nil
}

func (o checkFlags) now(cmd *cobra.Command) (time.Time, error) {
	if o.at == "" {
		return time.Now().UTC(), nil
	}
	at, err := parseMoment(o.at)
	if err != nil {
		return at, term.Usage(cmd, "--at %q is no time: write 2026-01-31 or 2026-01-31T12:00:00Z", o.at)
	}
	return at, nil
}

// tableOptions says how the table is to look.
func (a *app) tableOptions(o checkFlags) report.Options {
	options := report.Options{All: o.all}
	if _, ok := term.IsTerminal(a.Out); ok {
		options.Color = a.Getenv("NO_COLOR") == ""
		options.Width = a.Width
	}
	return options
}

// environment finds the rules to judge by.
func (a *app) environment(cmd *cobra.Command, o *checkFlags) (*verdict.Environment, error) {
	if len(o.files) == 0 {
		builtin := verdict.Default()
		if o.environment != "" && o.environment != builtin.Name {
			return nil, term.Usage(cmd, "--env %s: say with -f in which file this environment is", o.environment)
		}
		return &builtin, nil
	}
	docs, err := manifest.ReadPaths(a.In, o.files...)
	if err != nil {
		return nil, err
	}
	if o.signers, err = provenance.SignersIn(docs); err != nil {
		return nil, err
	}
	var names []string
	var chosen *manifest.Document
	for i, d := range docs {
		if d.Kind != "Environment" {
			continue
		}
		names = append(names, d.Meta.Name)
		if o.environment == d.Meta.Name || o.environment == "" {
			chosen = &docs[i]
		}
	}
	where := strings.Join(o.files, ", ")
	switch {
	case len(names) == 0:
		return nil, notFound("there is no Environment in %s", where).WithHint("docs/rules.md shows one")
	case o.environment == "" && len(names) > 1:
		return nil, term.Usage(cmd, "%s holds several environments: say --env with one of %s", where, strings.Join(names, ", "))
	case chosen == nil:
		return nil, notFound("there is no environment %q in %s", o.environment, where).WithHint("there are: %s", strings.Join(names, ", "))
	}
	return verdict.ParseEnvironment(*chosen)
}

// evidence opens the image and finds out all there is to know of it.
func (a *app) evidence(ctx context.Context, ref string, o checkFlags, now time.Time) (found verdict.Evidence, err error) {
	a.Line.Say("reading " + ref)
	defer a.Line.End()
	if path, ok := billFile(ref); ok {
		found, err = a.billEvidence(ctx, path, o, now)
		return found, hinted(err)
	}
	img, err := image.Open(ctx, ref, o.open)
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	advisories, end, err := a.advisoriesFor(ctx, o, now)
	if err != nil {
		return found, err
	}
	defer end()
	for _, w := range img.Warnings {
		a.Warn("%s", term.Printable(w))
	}
	deps := scan.Deps{Advisories: advisories, Limits: o.open.Limits, Now: func() time.Time { return now }}
	if !o.noCache {
		deps.Layers = scan.FileCache(a.LayerFolder())
	}
	found, err = scan.Scan(ctx, img, deps)
	if err == nil {
		err = a.believe(ctx, &found, advisories, img, o.vex)
	}
	if err == nil && len(o.signers) > 0 {
		found.Signatures, found.Signers = a.signatures(ctx, img, o.signers), scan.Signers(o.signers)
	}
	return found, hinted(err)
}

// hinted tells of the flags that raise limits.
func hinted(err error) error {
	if fault.Is(err, fault.TooLarge) && fault.HintOf(err) == "" {
		return fault.New(fault.TooLarge, "%w", err).WithHint("if that is as it should be, raise the limit: goldkeep check --help lists the --max flags")
	}
	return err
}

// signatures verifies what is attached to the image where it lies; nil where that
// cannot be found out, so that the rules know nothing of it.
func (a *app) signatures(ctx context.Context, img *image.Image, signers []*provenance.Signer) []verdict.Signature {
	found, odd, err := scan.Signatures(ctx, img, signers)
	if err != nil {
		a.Warn("%s", term.Printable(err.Error()))
	}
	for _, line := range odd {
		a.Warn("%s", term.Printable(line))
	}
	return found
}

// stale is how old the advisory database may be before check says so.
const stale = 7 * 24 * time.Hour

// advisoriesFor opens the advisory database. One that is missing or old is warned
// about: the rules decide what that means.
func (a *app) advisoriesFor(ctx context.Context, o checkFlags, now time.Time) (scan.Advisories, func(), error) {
	path := a.databasePath(o.db)
	db, err := openExisting(ctx, path)
	if fault.Is(err, fault.NotFound) {
		a.Warn("%s, so nothing is known of vulnerabilities", err)
		a.Hint("%s", fault.HintOf(err))
		return noAdvisories{}, func() {}, nil
	}
	if err != nil {
		return nil, nil, err
	}
	end := func() { _ = db.close() }
	snapshot, err := db.Snapshot(ctx)
	if err != nil {
		end()
		return nil, nil, err
	}
	for _, f := range snapshot.Feeds {
		if old := now.Sub(f.Synced); old > stale {
			a.Warn("the advisories of %s were last synced %s", f.Name, term.Ago(old))
			a.Hint("sync them: goldkeep advisory sync --from FOLDER|URL")
			break
		}
	}
	return db, end, nil
}

// noAdvisories is an advisory database that is not there.
type noAdvisories struct{}

// Lookup implements scan.Advisories.
func (noAdvisories) Lookup(context.Context, []advisory.Key) ([]advisory.Record, error) {
	return nil, nil
}

// Scores implements scan.Advisories.
func (noAdvisories) Scores(context.Context, []string) (map[string]advisory.Score, error) {
	return nil, nil
}

// Covered implements scan.Advisories.
func (noAdvisories) Covered(context.Context) (map[string]bool, error) { return nil, nil }

// Snapshot implements scan.Advisories.
func (noAdvisories) Snapshot(context.Context) (advisory.Snapshot, error) {
	return advisory.Snapshot{}, nil
}
