// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/verdict"
	"github.com/goldkeep/goldkeep/internal/workload"
)

// Refresh draws the consequences of changed advisories: new findings where there
// are any, new verdicts on the images concerned, and whatever follows for their
// instances. It returns how many images something else was found in. What is to be
// judged is durable before anything is acted on: what an error or a crash leaves
// undone is done by Step.
func (s *Service) Refresh(ctx context.Context, keys []advisory.Key) (images int, err error) {
	refreshed, err := s.o.Catalog.Refresh(ctx, keys)
	if err != nil {
		return 0, err
	}
	return refreshed.Images, s.drain(ctx)
}

// Reweigh judges again whatever holds one of these packages: something but an
// advisory has changed what is thought of it. It returns how many images hold one.
func (s *Service) Reweigh(ctx context.Context, keys []advisory.Key) (images int, err error) {
	if images, err = s.o.Catalog.Touch(ctx, keys); err != nil {
		return 0, err
	}
	return images, s.drain(ctx)
}

// drain does all that is due now, on all processors.
func (s *Service) drain(ctx context.Context) error {
	workers := make([]error, runtime.GOMAXPROCS(0))
	var wait sync.WaitGroup
	for i := range workers {
		wait.Go(func() {
			for {
				due, err := s.o.Catalog.Due(ctx, "", s.o.Store.Now(), batch)
				workers[i] = errors.Join(workers[i], err)
				if err != nil || len(due) == 0 {
					return
				}
				workers[i] = errors.Join(workers[i], s.reconcile(ctx, due))
			}
		})
	}
	wait.Wait()
	return errors.Join(workers...)
}

// Reconcile judges images, named by any of their digests, again in every
// environment, and acts on the instances concerned. It goes on after an error and
// returns them all; what failed is due and done by Step.
func (s *Service) Reconcile(ctx context.Context, digests []image.Digest) error {
	if len(digests) == 0 {
		return nil
	}
	envs, err := s.o.Catalog.Environments(ctx)
	if err != nil {
		return err
	}
	var errs []error
	var pairs []catalog.Pair
	for _, digest := range digests {
		ids, err := s.o.Catalog.Known(ctx, digest) // none: declared in a channel, never seen
		errs = append(errs, err)
		for _, id := range ids {
			for _, env := range envs {
				pairs = append(pairs, catalog.Pair{Image: id, Environment: env.Name})
			}
		}
	}
	return errors.Join(append(errs, s.reconcile(ctx, pairs))...)
}

// atOnce is how many images ReconcileAll judges before it returns, beyond those
// that something runs from.
const atOnce = 500

// ReconcileAll judges again in one environment, whose rules changed or which is no
// more: at once whatever something runs from, and a number of others. The rest is
// due, and done by Step.
func (s *Service) ReconcileAll(ctx context.Context, environment string) error {
	running, err := s.instances(ctx, "environment = ? AND state IN ('active', 'warned') ORDER BY image", environment)
	if err != nil {
		return err
	}
	var pairs []catalog.Pair
	for _, in := range running {
		if p := (catalog.Pair{Image: in.Image, Environment: environment}); len(pairs) == 0 || p != pairs[len(pairs)-1] {
			pairs = append(pairs, p)
		}
	}
	errs := []error{s.reconcile(ctx, pairs)}
	due, err := s.o.Catalog.Due(ctx, environment, s.o.Store.Now(), atOnce)
	return errors.Join(append(errs, err, s.reconcile(ctx, due))...)
}

// ReconcileWorkload looks again at the instances of a workload that was changed or
// deleted: those that do not fit it any more lose their identity.
func (s *Service) ReconcileWorkload(ctx context.Context, name string) error {
	running, err := s.instances(ctx, "workload = ? AND state IN ('active', 'warned') ORDER BY revision", name)
	if err != nil {
		return err
	}
	var errs []error
	for _, in := range running {
		why, err := s.misplaced(ctx, in)
		if err == nil && why != "" {
			err = s.end(ctx, in.ID, Revoked, why)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// reconcile judges images in environments, acts on their instances there, and only
// then keeps the verdicts: what a crash or an error leaves undone stays due.
func (s *Service) reconcile(ctx context.Context, pairs []catalog.Pair) error {
	var errs []error
	for some := range slices.Chunk(pairs, batch) {
		errs = append(errs, s.reconcileSome(ctx, some))
	}
	return errors.Join(errs...)
}

func (s *Service) reconcileSome(ctx context.Context, pairs []catalog.Pair) error {
	judged, err := s.o.Catalog.JudgeAll(ctx, pairs, s.o.Store.Now())
	if err != nil {
		return err
	}
	running, err := s.runningOf(ctx, pairs)
	if err != nil {
		return err
	}
	var errs []error
	var keep []catalog.Judged
	for _, j := range judged {
		failed := false
		for _, in := range running[j.Pair] {
			err := s.act(ctx, in, j.Verdict)
			errs, failed = append(errs, err), failed || err != nil
		}
		switch {
		case failed:
		case j.Verdict == nil, !j.Standing && len(running[j.Pair]) == 0:
			errs = append(errs, s.o.Catalog.Forget(ctx, j.Pair, j.Turn))
		default:
			keep = append(keep, j)
		}
	}
	if len(keep) > 0 {
		errs = append(errs, s.o.Catalog.KeepAll(ctx, keep))
	}
	return errors.Join(errs...)
}

// runningOf returns the instances of pairs.
func (s *Service) runningOf(ctx context.Context, pairs []catalog.Pair) (map[catalog.Pair][]Instance, error) {
	args := make([]any, batch)
	for i := range args {
		args[i] = string(pairs[min(i, len(pairs)-1)].Image)
	}
	marks := strings.TrimSuffix(strings.Repeat("?,", batch), ",")
	found, err := s.instances(ctx, "image IN ("+marks+") AND state IN ('active', 'warned') ORDER BY revision", args...)
	running := map[catalog.Pair][]Instance{}
	for _, in := range found {
		p := catalog.Pair{Image: in.Image, Environment: in.Environment}
		running[p] = append(running[p], in)
	}
	return running, err
}

// verdict judges an image in an environment; nil where one of them is no more, or
// nothing is known of the image.
func (s *Service) verdict(ctx context.Context, p catalog.Pair) (*verdict.Verdict, error) {
	env, err := s.o.Catalog.Environment(ctx, p.Environment)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	img, err := s.o.Catalog.Find(ctx, p.Image)
	if fault.Is(err, fault.NotFound) || err == nil && img.Evidence == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v, err := s.o.Catalog.Judge(ctx, img, *env, s.o.Store.Now())
	return &v, err
}

// reconsider judges one instance.
func (s *Service) reconsider(ctx context.Context, in Instance) error {
	if in.over() {
		return nil
	}
	if !s.o.Store.Now().Before(in.Expires) {
		return s.lapse(ctx, in.ID)
	}
	v, err := s.verdict(ctx, catalog.Pair{Image: in.Image, Environment: in.Environment})
	if err != nil {
		return err
	}
	return s.act(ctx, in, v)
}

// misplaced says why an instance does not fit its workload any more; "": it does.
func (s *Service) misplaced(ctx context.Context, in Instance) (why string, err error) {
	w, err := s.o.Workloads.Get(ctx, in.Workload)
	switch {
	case fault.Is(err, fault.NotFound):
		return "the workload " + in.Workload + " is no longer declared", nil
	case err != nil:
		return "", err
	case w.Environment != in.Environment:
		return "the workload " + in.Workload + " now runs in environment " + w.Environment, nil
	case !w.Allows(workload.Place{Node: in.Node, UID: in.UID}):
		return fmt.Sprintf("the workload %s may no longer run on node %s as user %d", in.Workload, in.Node, in.UID), nil
	}
	return "", nil
}

// act does to an instance what its verdict says; nil: its environment or image is
// no more.
func (s *Service) act(ctx context.Context, in Instance, v *verdict.Verdict) error {
	why, err := s.misplaced(ctx, in)
	if err != nil {
		return err
	}
	if v == nil && why == "" {
		why = "the environment " + in.Environment + " is no longer declared"
	}
	if why != "" {
		return s.end(ctx, in.ID, Revoked, why)
	}
	switch {
	case v.Retain.Answer == verdict.No && v.Retain.Action != verdict.Warn:
		return s.end(ctx, in.ID, Revoked, summary(v.Retain))
	case v.Retain.Answer == verdict.No:
		return s.mark(ctx, in, Warned, summary(v.Retain), time.Time{})
	case v.Retain.Answer == verdict.Unknown:
		return s.mark(ctx, in, Warned, "cannot be judged: "+summary(v.Retain), time.Time{})
	}
	if r, ok := nextDeadline(v.Retain); ok {
		return s.mark(ctx, in, Warned, r.Text, r.Deadline)
	}
	return s.mark(ctx, in, Active, "", time.Time{})
}

// nextDeadline returns the warning that runs out first.
func nextDeadline(o verdict.Outcome) (next verdict.Reason, ok bool) {
	for _, r := range o.Reasons {
		if !r.Deadline.IsZero() && (!ok || r.Deadline.Before(next.Deadline)) {
			next, ok = r, true
		}
	}
	return next, ok
}

// mark notes the standing of an instance that keeps its identity, and records it
// where it changed.
func (s *Service) mark(ctx context.Context, in Instance, state State, reason string, until time.Time) error {
	so := func(in Instance) bool {
		return in.State == state && in.Reason == reason && in.Until.Equal(until)
	}
	if so(in) {
		return nil
	}
	return s.decide(ctx, in.ID, func(now *Instance) error {
		if now.over() || so(*now) {
			return errUnchanged
		}
		now.State, now.Reason, now.Until = state, reason, until
		return nil
	})
}

// end takes an instance's identity back: first the intent, durable; then its
// tokens and leases; then the record. What a crash leaves undone is done by Step.
func (s *Service) end(ctx context.Context, id string, state State, reason string) error {
	return s.decide(ctx, id, func(now *Instance) error {
		if now.over() {
			return errUnchanged
		}
		now.State, now.Reason, now.Until = state, reason, time.Time{}
		return nil
	})
}

// decide makes a change nobody asked for, and makes it real.
func (s *Service) decide(ctx context.Context, id string, edit func(*Instance) error) error {
	in, err := s.change(ctx, id, pending, edit)
	if errors.Is(err, errUnchanged) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.carryOut(ctx, pendingChange{in, in.Revision})
}

// carryOut makes a decision real, and may be called again until it has worked:
// where the instance is over its tokens go, the decision is recorded, and only
// then it is settled. While sealed nothing can be done, and no token is worth
// anything.
func (s *Service) carryOut(ctx context.Context, c pendingChange) error {
	if s.o.Sealed() {
		return nil
	}
	if c.in.over() {
		if _, err := s.o.Tokens.RevokeInstance(ctx, c.in.ID); err != nil {
			return fmt.Errorf("revoke tokens of instance %s: %w", c.in.ID, err)
		}
	}
	e := Event{Name: "instance." + string(c.in.State), Instance: c.in, Reason: c.in.Reason}
	if err := s.o.Record(ctx, e); err != nil {
		return fmt.Errorf("record %s of %s: %w", e.Name, c.in.ID, err)
	}
	s.o.Log.Info("instance changed", "event", e.Name, "instance", c.in.ID, "workload", c.in.Workload, "owner", c.in.Owner, "node", c.in.Node)
	return s.settle(ctx, c)
}

const (
	batch = 100
	// patience is how long whoever made a decision has to carry it out; then it is
	// taken for crashed, and any node does it.
	patience = 5 * time.Second
	// memory is how long instances that are over are listed.
	memory = 30 * 24 * time.Hour
	// silence is why an instance is gone that was not renewed.
	silence = "its agent was not heard of for its lifetime"
)

// Step does what has come due: verdicts that change by themselves or rest on
// something that changed, decisions that a crash, a sealed server or a failing
// audit log left half done, instances not heard of any more.
func (s *Service) Step(ctx context.Context) error {
	now := s.o.Store.Now()
	due, err := s.o.Catalog.Due(ctx, "", now, batch)
	errs := []error{err, s.reconcile(ctx, due)}
	if !s.o.Sealed() {
		errs = append(errs, s.finish(ctx, now), s.expire(ctx, now), s.publish(ctx), s.forget(ctx, now.Add(-memory), batch))
	}
	return errors.Join(errs...)
}

// finish carries out what was left half done. The first time after a start it does
// not wait: whoever made those decisions is gone.
func (s *Service) finish(ctx context.Context, now time.Time) error {
	if s.settled {
		now = now.Add(-patience)
	}
	left, err := s.pendingChanges(ctx, now, batch)
	if err != nil {
		return err
	}
	s.settled = len(left) < batch
	var errs []error
	for _, c := range left {
		errs = append(errs, s.carryOut(ctx, c))
	}
	return errors.Join(errs...)
}

// expire ends the instances that were not renewed.
func (s *Service) expire(ctx context.Context, now time.Time) error {
	silent, err := s.instances(ctx, "state IN ('active', 'warned') AND expires <= ? ORDER BY expires LIMIT ?", now.UnixMilli(), batch)
	if err != nil {
		return err
	}
	var errs []error
	for _, in := range silent {
		errs = append(errs, s.lapse(ctx, in.ID))
	}
	return errors.Join(errs...)
}

// lapse ends an instance whose time is over; one that was renewed meanwhile lives on.
func (s *Service) lapse(ctx context.Context, id string) error {
	return s.decide(ctx, id, func(now *Instance) error {
		if now.over() || s.o.Store.Now().Before(now.Expires) {
			return errUnchanged
		}
		now.State, now.Reason, now.Until = Gone, silence, time.Time{}
		return nil
	})
}

// beat is how often Run looks for what has come due.
const beat = time.Second

// Run does Step every second until ctx ends. Errors are logged and tried again.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := s.Step(ctx); err != nil && ctx.Err() == nil {
				s.o.Log.Error("watch over instances", "error", err)
			}
		}
	}
}
