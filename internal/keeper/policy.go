// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package keeper

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/term"
)

func (a *commands) policyCommand() *cobra.Command {
	return term.Group("policy", "Find out why a request is denied, and try policies before they count",
		a.policyExplainCommand(), a.policyLintCommand(), a.policySimulateCommand())
}

func (a *commands) policyExplainCommand() *cobra.Command {
	var wrap time.Duration
	cmd := &cobra.Command{
		Use: "explain WHO PATH VERB", Short: "Say which rule decides about a request, and whose it is (exit code 3: denied)",
		Args: term.Wanted("WHO", "PATH", "VERB"),
		Long: "Say what the server would decide about a request: by which rule of which policy, whose that\n" +
			"policy is, which rules lost against it, and what is missing. Nothing is done.\n" +
			"WHO is self, the accessor of a token, workload/NAME, policy/NAME, or - for a token that is\n" +
			"read from standard input. PATH is as in requests, without /v1/: secret/data/app.\n" +
			"VERB is read, list, write (create or update, whichever it would be), create, update, patch,\n" +
			"delete or scan. Rules about the values of parameters are not looked at.\n" +
			"Needs \"update\" on api/v1/policies/explain.",
		Example: "  goldkeep policy explain workload/payments secret/data/pay/stripe read\n" +
			"  goldkeep policy explain wmPzOaRYr3rbsLvzOZ3zFkkP secret/metadata/app list\n" +
			"  goldkeep policy explain - sys/mounts/kv write < token",
	}
	cmd.RunE = a.Online(func(ctx context.Context, c *client.Client, args []string) error {
		ask := client.PolicyQuestion{Path: strings.TrimPrefix(strings.TrimPrefix(args[1], "/"), "v1/"), Capability: args[2], WrapTTL: int(wrap / time.Second)}
		if err := a.holder(ctx, args[0], &ask); err != nil {
			return err
		}
		why, err := c.ExplainPolicy(ctx, ask)
		if err != nil {
			return err
		}
		if err := a.Print(why, func(t *term.Table) { explanation(t, why) }); err != nil {
			return err
		}
		if !why.Allowed {
			return term.Answered(term.ExitRefused)
		}
		return nil
	})
	cmd.Flags().DurationVar(&wrap, "wrap-ttl", 0, "as if the answer were to be wrapped for so long")
	return cmd
}

// holder says whose rights WHO means.
func (a *commands) holder(ctx context.Context, who string, ask *client.PolicyQuestion) (err error) {
	kind, name, named := strings.Cut(who, "/")
	switch {
	case who == "self":
		ask.Token, err = a.Token()
	case who == "-":
		ask.Token, err = a.SecretInput(ctx)("token")
	case !named:
		ask.Accessor = who
	case kind == "workload":
		ask.Workload = name
	case kind == "policy":
		ask.Policies = []string{name}
	default:
		return fault.New(fault.Invalid, "%q is neither self, an accessor, workload/NAME, policy/NAME nor -", who)
	}
	return err
}

func explanation(t *term.Table, why *client.PolicyExplanation) {
	answer := "denied"
	if why.Allowed {
		answer = "allowed"
	}
	t.Row(fmt.Sprintf("%s: %s %s: %s", answer, why.Capability, why.Path, why.Reason))
	if why.Missing != "" {
		t.Row(why.Missing)
	}
	if why.Mount == "" {
		t.Row("nothing is mounted there")
	}
	t.Row(fmt.Sprintf("policies held: %s", term.First(strings.Join(why.Policies, ", "), "none")))
	if len(why.Absent) > 0 {
		t.Row(fmt.Sprintf("of these do not exist: %s", strings.Join(why.Absent, ", ")))
	}
	for _, r := range why.Rules {
		decides := "lost against the rule above"
		if r.Decides {
			decides = "decides"
		}
		t.Row(fmt.Sprintf("  %s: policy %s%s, path %q [%s]%s", decides, r.Policy, line(r.Line), r.Path, strings.Join(r.Capabilities, ", "), owned(r)))
	}
	for _, c := range why.Perhaps {
		t.Row(fmt.Sprintf("perhaps: policy %s%s, path %q: %s; write %s", c.Policy, line(c.Line), c.Path, c.Text, c.Fix))
	}
}

func line(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" line %d", n)
}

func owned(r client.PolicyRule) string {
	if r.Owner == "" {
		return ""
	}
	return fmt.Sprintf("; owner %s %s", r.Owner, r.Contact)
}

func (a *commands) policyLintCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "lint [FILE...]", Short: "Find rules that will not do what they look like (exit code 3: there are some)",
		Long: "Find rules that will not do what they look like: paths that no request has (those of the\n" +
			"key/value store without data/ or metadata/), capabilities a more specific rule takes away,\n" +
			"missing sudo, and what nothing is mounted for. FILE is a policy in HCL or JSON, - standard\n" +
			"input; without FILE all policies of the server are looked at. The server's mounts of now count.\n" +
			"Warnings alone do not change the exit code. Needs \"update\" on api/v1/policies/lint.",
		Example: "  goldkeep policy lint app.hcl\n  goldkeep policy lint -o json",
	}
	cmd.RunE = a.Online(func(ctx context.Context, c *client.Client, args []string) error {
		texts := []client.PolicyText{{}}
		if len(args) > 0 {
			texts = nil
		}
		for _, file := range args {
			text, err := a.policyFile(file)
			if err != nil {
				return err
			}
			texts = append(texts, client.PolicyText{Policy: strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)), Rules: text})
		}
		var all []client.PolicyComplaint
		wrong := false
		for _, text := range texts {
			found, err := c.LintPolicy(ctx, text)
			if err != nil {
				return err
			}
			all = append(all, found...)
		}
		err := term.PrintList(a.Term, all, "complaints", func(t *term.Table) {
			t.Row("POLICY", "LINE", "PATH", "KIND", "WHAT", "WRITE")
			for _, c := range all {
				kind := "error"
				if c.Warning {
					kind = "warning"
				}
				t.Row(c.Policy, c.Line, c.Path, kind, c.Text, c.Fix)
			}
		})
		for _, c := range all {
			wrong = wrong || !c.Warning
		}
		if err == nil && wrong {
			return term.Answered(term.ExitRefused)
		}
		return err
	})
	return cmd
}

// maxPolicy bounds the file of a policy, in bytes, as the server does.
const maxPolicy = 1 << 20

func (a *commands) policyFile(name string) (string, error) {
	in := a.In
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", fault.New(fault.NotFound, "read policy: %w", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxPolicy+1))
	switch {
	case err != nil:
		return "", fault.New(fault.Invalid, "read policy: %w", err)
	case len(text) > maxPolicy:
		return "", fault.New(fault.TooLarge, "the policy is larger than 1 MiB")
	case strings.TrimSpace(string(text)) == "":
		return "", fault.New(fault.Invalid, "the policy %s is empty", name)
	}
	return string(text), nil
}

func (a *commands) policySimulateCommand() *cobra.Command {
	var since time.Duration
	cmd := &cobra.Command{
		Use: "simulate NAME FILE", Short: "Say which recorded requests a changed policy would decide otherwise (exit code 3: some would be refused)",
		Args: term.Wanted("NAME", "FILE"),
		Long: "Put the requests in the audit log before the policy NAME as FILE has it (- is standard input),\n" +
			"beside the policies as they are, and list what would be decided otherwise. Nothing is changed.\n" +
			"The log holds no values: where a rule depends on those of parameters, the answer is unsure.\n" +
			"The current file of the answering node's log is read. Needs \"update\" on\n" +
			"api/v1/policies/simulate; it shows paths of secrets, as the audit log does.",
		Example: "  goldkeep policy simulate app app.hcl\n  goldkeep policy simulate app app.hcl --since 24h -o json",
	}
	cmd.RunE = a.Online(func(ctx context.Context, c *client.Client, args []string) error {
		text, err := a.policyFile(args[1])
		if err != nil {
			return err
		}
		change := client.PolicyChange{Policy: args[0], Rules: text}
		if since > 0 {
			change.Since = time.Now().Add(-since)
		}
		sim, err := c.SimulatePolicy(ctx, change)
		if err != nil {
			return err
		}
		if err := a.Print(sim, func(t *term.Table) { simulation(t, sim) }); err != nil {
			return err
		}
		for _, r := range sim.Changes {
			if !r.Allowed {
				return term.Answered(term.ExitRefused)
			}
		}
		return nil
	})
	cmd.Flags().DurationVar(&since, "since", 0, "only requests of so long, such as 24h (default: all)")
	return cmd
}

func simulation(t *term.Table, sim *client.PolicySimulation) {
	if len(sim.Changes) > 0 {
		t.Row("WOULD BE", "VERB", "PATH", "WHO", "TIMES", "LAST", "WHY")
	}
	for _, r := range sim.Changes {
		would := "refused"
		if r.Allowed {
			would = "allowed"
		}
		if r.Unsure {
			would += "?"
		}
		t.Row(would, r.Capability, r.Path, r.Holder, r.Times, term.Moment(r.Last), r.Reason)
	}
	t.Row(fmt.Sprintf("%d requests tried, %d kinds of them would be decided otherwise", sim.Requests, len(sim.Changes)))
	if sim.Unknown > 0 {
		t.Row(fmt.Sprintf("%d records do not say enough to be tried", sim.Unknown))
	}
}
