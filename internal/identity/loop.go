// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"errors"
	"time"

	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// Rematched looks again at images whose packages an advisory feed has touched:
// new findings, new verdicts, and whatever follows for their instances. It
// returns how many images were concerned.
func (s *Service) Rematched(ctx context.Context, ids []image.Digest) error {
	for _, id := range ids {
		img, err := s.o.Catalog.Find(ctx, id)
		if err != nil {
			return err
		}
		if img.Evidence == nil {
			continue
		}
		ev, err := s.o.Rematch(ctx, *img.Evidence)
		if err != nil {
			return err
		}
		if err := s.o.Catalog.Relearn(ctx, ev); err != nil {
			return err
		}
	}
	return s.Reconcile(ctx, ids)
}

// Reconcile judges images again in every environment, and acts on the instances
// concerned. It goes on after an error and returns them all.
func (s *Service) Reconcile(ctx context.Context, ids []image.Digest) error {
	envs, err := s.o.Catalog.Environments(ctx)
	if err != nil {
		return err
	}
	var errs []error
	for _, id := range ids {
		for _, env := range envs {
			errs = append(errs, s.reconcile(ctx, catalog.Pair{Image: id, Environment: env.Name}))
		}
	}
	return errors.Join(errs...)
}

// ReconcileAll judges every image again in one environment: its rules changed.
func (s *Service) ReconcileAll(ctx context.Context, environment string) error {
	const page = 500
	var errs []error
	for after := image.Digest(""); ; {
		imgs, err := s.o.Catalog.Images(ctx, after, page)
		if err != nil {
			return err
		}
		for _, img := range imgs {
			errs = append(errs, s.reconcile(ctx, catalog.Pair{Image: img.ID, Environment: environment}))
			after = img.ID
		}
		if len(imgs) < page {
			return errors.Join(errs...)
		}
	}
}

// reconcile judges one image in one environment and acts on its instances there.
func (s *Service) reconcile(ctx context.Context, p catalog.Pair) error {
	img, err := s.o.Catalog.Find(ctx, p.Image)
	if fault.Is(err, fault.NotFound) {
		return nil // declared in a channel, never seen: nothing runs from it
	}
	if err != nil {
		return err
	}
	if img.Evidence == nil {
		return nil
	}
	env, err := s.o.Catalog.Environment(ctx, p.Environment)
	if err != nil {
		return err
	}
	v, err := s.o.Catalog.Judge(ctx, img, *env, s.o.Store.Now())
	if err != nil {
		return err
	}
	running, err := s.instances(ctx, "image = ? AND environment = ? AND state IN ('active', 'warned')", string(p.Image), p.Environment)
	if err != nil {
		return err
	}
	var errs []error
	for _, in := range running {
		errs = append(errs, s.act(ctx, in, v))
	}
	return errors.Join(errs...)
}

// reconsider judges the image of one instance.
func (s *Service) reconsider(ctx context.Context, in Instance) error {
	if _, err := s.o.Workloads.Get(ctx, in.Workload); fault.Is(err, fault.NotFound) {
		return s.revoke(ctx, in.ID, "the workload "+in.Workload+" is no longer declared")
	}
	err := s.reconcile(ctx, catalog.Pair{Image: in.Image, Environment: in.Environment})
	if fault.Is(err, fault.NotFound) {
		return s.revoke(ctx, in.ID, "the environment "+in.Environment+" is no longer declared")
	}
	return err
}

// act does to an instance what its verdict says.
func (s *Service) act(ctx context.Context, in Instance, v verdict.Verdict) error {
	switch {
	case v.Retain.Answer == verdict.No && (v.Retain.Action == verdict.Revoke || v.Retain.Action == verdict.Replace):
		return s.revoke(ctx, in.ID, summary(v.Retain))
	case v.Retain.Answer == verdict.No:
		return s.mark(ctx, in, Warned, summary(v.Retain), time.Time{})
	case v.Retain.Answer == verdict.Unknown:
		return s.mark(ctx, in, Warned, "cannot be judged: "+summary(v.Retain), time.Time{})
	}
	for _, r := range v.Retain.Reasons {
		if !r.Deadline.IsZero() {
			return s.mark(ctx, in, Warned, r.Text, r.Deadline)
		}
	}
	return s.mark(ctx, in, Active, "", time.Time{})
}

// mark notes the standing of an instance that keeps its identity, and records it
// where it changed.
func (s *Service) mark(ctx context.Context, in Instance, state State, reason string, until time.Time) error {
	if in.State == state && in.Reason == reason && in.Until.Equal(until) {
		return nil
	}
	changed, err := s.change(ctx, in.ID, func(now *Instance) error {
		if now.State == Revoked || now.State == Gone {
			return errUnchanged
		}
		now.State, now.Reason, now.Until = state, reason, until
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.record(ctx, Event{Name: "instance." + string(state), Instance: changed, Reason: reason})
}

// revoke takes an instance's identity back: first the intent, durable; then its
// tokens and leases; then the record. A crash in between is made good by settle.
func (s *Service) revoke(ctx context.Context, id, reason string) error {
	return s.end(ctx, id, Revoked, reason)
}

func (s *Service) end(ctx context.Context, id string, state State, reason string) error {
	in, err := s.change(ctx, id, func(now *Instance) error {
		if now.State == Revoked || now.State == Gone {
			return errUnchanged
		}
		now.State, now.Reason, now.Until = state, reason, time.Time{}
		return nil
	})
	if errors.Is(err, errUnchanged) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.settle(ctx, in)
}

// settle makes the end of an instance real, and may be called again until it
// has worked: its tokens go, the end is recorded, and only then it is settled.
func (s *Service) settle(ctx context.Context, in Instance) error {
	if _, err := s.o.Tokens.RevokeInstance(ctx, in.ID); err != nil {
		return err
	}
	if err := s.record(ctx, Event{Name: "instance." + string(in.State), Instance: in, Reason: in.Reason}); err != nil {
		return err
	}
	return s.settled(ctx, in.ID)
}

func (s *Service) record(ctx context.Context, e Event) error {
	s.o.Log.Info("instance changed", "event", e.Name, "instance", e.Instance.ID, "workload", e.Instance.Workload, "owner", e.Instance.Owner, "node", e.Instance.Node)
	return s.o.Record(ctx, e)
}

// Step does what has come due: verdicts that change by themselves, ends that a
// crash or a sealed server left unsettled, instances not heard of any more.
func (s *Service) Step(ctx context.Context) error {
	const batch = 100
	now := s.o.Store.Now()
	due, err := s.o.Catalog.Due(ctx, now, batch)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range due {
		errs = append(errs, s.reconcile(ctx, p))
	}
	if s.o.Sealed() {
		return errors.Join(errs...)
	}
	unsettled, err := s.instances(ctx, "settled = 0 AND state IN ('revoked', 'gone')")
	errs = append(errs, err)
	for _, in := range unsettled {
		errs = append(errs, s.settle(ctx, in))
	}
	silent, err := s.instances(ctx, "state IN ('active', 'warned') AND expires <= ?", now.UnixMilli())
	errs = append(errs, err)
	for _, in := range silent {
		errs = append(errs, s.end(ctx, in.ID, Gone, "its agent was not heard of for its lifetime"))
	}
	return errors.Join(errs...)
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
