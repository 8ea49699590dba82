// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

const (
	atOnce  = 8                // deliveries under way on one server
	giveUp  = 24 * time.Hour   // after this a delivery has failed
	first   = 30 * time.Second // until the second attempt; then twice as long each time
	longest = time.Hour        // between two attempts
)

// outcome is how an attempt ended.
type outcome struct {
	answer string        // what the receiver said, or what went wrong
	err    bool          // it was not taken
	never  bool          // and never will be
	after  time.Duration // not before; 0: the usual time
}

// deliver sends what is due, several at once: one that does not answer holds up
// no other.
func (s *Service) deliver(ctx context.Context) error {
	mine, err := s.claim(ctx, s.o.Now(), atOnce)
	errs := make([]error, len(mine)+1)
	errs[len(mine)] = err
	var wait sync.WaitGroup
	for i, d := range mine {
		wait.Go(func() { errs[i] = s.attempt(ctx, d) })
	}
	wait.Wait()
	return errors.Join(errs...)
}

// attempt sends one and writes down how it went. That a receiver answered must be
// written down even if the server is about to stop.
func (s *Service) attempt(ctx context.Context, d Delivery) error {
	out := s.try(ctx, &d)
	now := s.o.Now()
	d.Answer = plain(out.answer, maxText)
	switch {
	case !out.err:
		d.State, d.Next, d.Settled = Sent, time.Time{}, now
	case out.never || now.Sub(d.Created) >= giveUp:
		d.State, d.Next, d.Settled = Failed, time.Time{}, now
	default:
		d.Next = now.Add(max(pause(d.Attempts), out.after))
	}
	ctx = context.WithoutCancel(ctx)
	if err := s.settle(ctx, d); err != nil {
		return err
	}
	if d.State == Pending {
		return nil
	}
	if d.State == Failed {
		s.o.Log.Warn("an owner could not be told", "delivery", d.ID, "notification", d.Notification, "answer", d.Answer)
	}
	if s.o.Record == nil {
		return nil
	}
	return s.o.Record(ctx, d)
}

// pause is how long to wait after an attempt: twice as long each time, and not
// the same for all, lest they come at once when a receiver is back.
func pause(attempts int) time.Duration {
	wait := longest
	if attempts < 8 {
		wait = min(longest, first<<(attempts-1))
	}
	return wait*3/4 + rand.N(wait/2)
}

// try sends one delivery to where it goes now.
func (s *Service) try(ctx context.Context, d *Delivery) outcome {
	n := byContact(d.contact)
	if d.contact == "" {
		found, err := s.Get(ctx, d.Notification)
		if fault.Is(err, fault.NotFound) {
			return outcome{answer: errGone.Error(), err: true, never: true}
		}
		if err != nil {
			return outcome{answer: fault.Public(err), err: true}
		}
		n = *found
		d.Target = n.Target()
	}
	return s.to(ctx, n, d)
}

// to sends a delivery to a Notification's target.
func (s *Service) to(ctx context.Context, n Notification, d *Delivery) outcome {
	if n.Email != nil {
		return s.send.mail(ctx, n.Email.To, *d.Digest)
	}
	address, err := s.secret(ctx, n.Webhook.URL, n.Webhook.URLFrom)
	if err != nil {
		return outcome{answer: "read the webhook's url: " + fault.Public(err), err: true}
	}
	if why := badURL(address, n.Webhook.InsecurePlainHTTP); why != "" {
		return outcome{answer: why, err: true}
	}
	key, err := s.secret(ctx, "", n.Webhook.Secret)
	if err != nil {
		return outcome{answer: "read the webhook's secret: " + fault.Public(err), err: true}
	}
	d.Target = n.Webhook.Format + " webhook" + atHost(address)
	return s.send.post(ctx, post{url: address, format: n.Webhook.Format, key: key, now: s.o.Now()}, *d.Digest)
}

// secret is what a reference stands for, or text where there is none.
func (s *Service) secret(ctx context.Context, text string, ref SecretRef) (string, error) {
	if ref.KV == "" {
		return text, nil
	}
	value, err := s.o.Secret(ctx, ref)
	if err != nil {
		return "", err
	}
	if value = strings.TrimSpace(value); value == "" {
		return "", fault.New(fault.NotFound, "the secret has no field of that name, or it is empty")
	}
	return value, nil
}

// Test sends a test message to a Notification's target, now and once, and returns
// what the receiver said. It is on record like any other.
func (s *Service) Test(ctx context.Context, name string) (*Delivery, error) {
	n, err := s.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	now := s.o.Now()
	p := newPile()
	p.digest.Kind, p.digest.Notification, p.digest.From, p.digest.To = "test", name, now, now
	digest := p.finish(newID(), s.o.Server)
	digest.Owners = n.Owners
	d := s.delivery(digest, "")
	d.Target, d.Attempts, d.Next, d.Settled = n.Target(), 1, time.Time{}, now
	out := s.to(ctx, *n, &d)
	d.Answer, d.State = plain(out.answer, maxText), Sent
	if out.err {
		d.State = Failed
	}
	if err := s.o.Store.Update(ctx, func(tx store.Tx) error { return enqueue(ctx, tx, d) }); err != nil {
		return nil, err
	}
	if out.err {
		return nil, fault.New(fault.Unavailable, "%s did not take the test message: %s", d.Target, d.Answer).
			WithHint("look at the notification %s, and at notifications in the server's configuration", name)
	}
	return &d, nil
}

// describe is an error of a connection in one line, without what is secret.
func describe(verb string, err error) string {
	return fmt.Sprintf("%s: %v", verb, withoutURL(err))
}
