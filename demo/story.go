// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
)

func (s *stage) prologue(ctx context.Context) error {
	s.title("Goldkeep: golden images, kept secrets")
	s.say("A workload earns its secrets: only an image that passes the rules runs, only what",
		"runs from it gets secrets, and when the evidence changes they are taken back.")
	s.title("0. Setting the stage")
	if err := s.buildApps(ctx); err != nil {
		return err
	}
	if err := s.startServer(ctx); err != nil {
		return err
	}
	if err := s.chooseRuntime(ctx); err != nil {
		return err
	}
	if err := s.writeFeed("advisories/before"); err != nil {
		return err
	}
	s.say("The known vulnerabilities, as the public OSV bucket lays them out:")
	if err := s.goldkeep(ctx, "advisory", "sync", "--from", s.path("osv"), "--server"); err != nil {
		return err
	}
	s.say("The secret: the key of a payment provider. No person needs to see it again.")
	if err := s.goldkeepIn(ctx, `sk_demo_`+random(24), "kv", "put", "secret/payments/stripe", "key=-"); err != nil {
		return err
	}
	return s.startAgent(ctx)
}

func (s *stage) clean(ctx context.Context) error {
	s.title("1. A clean image is admitted, and its workload gets its secret")
	if err := s.add(ctx, "clean"); err != nil {
		return err
	}
	s.say("What people write: the rules of production, a golden image, and a workload with",
		"the secret it needs.")
	if err := s.apply(ctx, s.digests["clean"], ""); err != nil {
		return err
	}
	if err := s.startApp(ctx, "clean", "orders"); err != nil {
		return err
	}
	if err := s.expect(ctx, "orders", "I can take payments"); err != nil {
		return err
	}
	return s.goldkeep(ctx, "instance", "list")
}

func (s *stage) flawed(ctx context.Context) error {
	s.title("2. A flawed image is refused, with the reason and the way out")
	s.say("Another team builds on golang.org/x/text v0.3.7, which has a known flaw, and",
		"declares it gold. Declaring is not enough:")
	if err := s.add(ctx, "vulnerable"); err != nil {
		return err
	}
	if err := s.apply(ctx, s.digests["clean"], s.digests["vulnerable"]); err != nil {
		return err
	}
	if err := s.fails(ctx, 3, "verdict", s.digests["vulnerable"], "--env", "prod"); err != nil {
		return err
	}
	if err := s.startApp(ctx, "vulnerable", "reports"); err != nil {
		return err
	}
	return s.expect(ctx, "reports", "I have no secrets")
}

func (s *stage) news(ctx context.Context) error {
	s.title("3. A new advisory takes a running workload's secret away")
	s.say("GO-2026-5970 is published: golang.org/x/text before v0.39.0 can be made to loop for",
		"ever. The orders service is running with v0.38.0. Production gives three seconds of",
		"grace here (yours would give days); then the secret goes.")
	if err := s.writeFeed("advisories/before", "advisories/new"); err != nil {
		return err
	}
	if err := s.goldkeep(ctx, "advisory", "sync", "--from", s.path("osv"), "--server"); err != nil {
		return err
	}
	if err := s.await(ctx, "warned"); err != nil {
		return err
	}
	s.say("First it warns, and says until when:")
	if err := s.goldkeep(ctx, "instance", "list"); err != nil {
		return err
	}
	if err := s.expect(ctx, "orders", "I have no secrets"); err != nil {
		return err
	}
	s.say("Nobody had to do anything. Token and file are gone, and the record says why:")
	return s.goldkeep(ctx, "instance", "list")
}

func (s *stage) patched(ctx context.Context) error {
	s.title("4. The patched image gets it back")
	s.say("The owner rebuilds with golang.org/x/text v0.43.0 and moves the gold channel to it.")
	if err := s.add(ctx, "patched"); err != nil {
		return err
	}
	if err := s.apply(ctx, s.digests["patched"], s.digests["vulnerable"]); err != nil {
		return err
	}
	if err := s.startApp(ctx, "patched", "orders2"); err != nil {
		return err
	}
	if err := s.expect(ctx, "orders2", "I can take payments"); err != nil {
		return err
	}
	return s.goldkeep(ctx, "instance", "list")
}

func (s *stage) epilogue(ctx context.Context) error {
	s.title("5. Prove it")
	s.say("Every decision stands in a hash-chained log that nobody can change unseen:")
	if err := s.verifyAudit(ctx); err != nil {
		return err
	}
	s.title("That was it. Try it yourself:")
	fmt.Fprint(s.out, `
    bin/goldkeep server --dev                          # a server, in memory
    bin/goldkeep check ./bin/goldkeep                  # check any program or image
    bin/goldkeep help                                  # everything else
    less demo/story.go                                 # what you have just seen
`)
	return nil
}
