// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/report"
	"github.com/goldkeep/goldkeep/internal/sign"
	"github.com/goldkeep/goldkeep/internal/term"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// checkRemotely is check by the server's advisories, rules and decisions. What
// the server does not know yet of the image is sent; it scans that itself.
func (a *app) checkRemotely(cmd *cobra.Command, ref string, o checkFlags) (err error) {
	if o.environment == "" {
		return term.Usage(cmd, "--server needs --env: the name of the server's environment to judge by")
	}
	if len(o.files) > 0 || o.at != "" || o.db != "" || len(o.vex) > 0 {
		return term.Usage(cmd, "--server judges now, by its own rules, advisories and decisions: leave out --file, --at, --db and --vex")
	}
	ctx := cmd.Context()
	c, err := a.Client()
	if err != nil {
		return err
	}
	a.Line.Say("reading " + ref)
	defer a.Line.End()
	img, err := image.Open(ctx, ref, o.open)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, img.Close()) }()
	for _, w := range img.Warnings {
		a.Warn("%s", term.Printable(w))
	}
	checked, err := c.Check(ctx, o.environment, string(img.ID))
	if missing(err) {
		checked, err = a.bring(ctx, c, img, o.environment)
	}
	if err != nil {
		return err
	}
	a.Line.End()
	return a.showCheck(checked, o)
}

// missing is the answer about something the server does not know.
func missing(err error) bool {
	var answer *client.Error
	return errors.As(err, &answer) && fault.KindNamed(answer.Kind) == fault.NotFound
}

// bring has the server scan an image it does not know, and asks again.
func (a *app) bring(ctx context.Context, c *client.Client, img *image.Image, environment string) (*client.Check, error) {
	if _, err := c.Environment(ctx, environment); err != nil {
		return nil, err // that was what it did not know
	}
	var err error
	if content, _ := imageContent(ctx, img.Name); content == nil || !img.Portable() {
		_, err = a.addImage(ctx, c, img.Name, "")
	} else {
		_ = content.Close()
		err = sign.Send(ctx, c, img, func(sent, of int) { a.Line.Say(fmt.Sprintf("sending %d of %d layers", sent, of)) })
	}
	if err != nil {
		return nil, err
	}
	return c.Check(ctx, environment, string(img.ID))
}

// showCheck prints the server's answer as check prints its own.
func (a *app) showCheck(checked *client.Check, o checkFlags) error {
	var evidence verdict.Evidence
	var judged verdict.Verdict
	if err := errors.Join(json.Unmarshal(checked.Evidence, &evidence), json.Unmarshal(checked.Verdict, &judged)); err != nil {
		return fmt.Errorf("decode the server's answer: %w", err)
	}
	result := report.Result{Evidence: evidence, Verdict: &judged, Time: judged.At, Version: a.version().Version}
	if err := report.Write(a.Out, a.Output, result, a.tableOptions(o)); err != nil {
		return err
	}
	if !judged.Admitted() {
		return term.Answered(term.ExitRefused)
	}
	return nil
}
