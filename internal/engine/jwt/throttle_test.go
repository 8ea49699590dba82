// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package jwt

import (
	"fmt"
	"testing"
	"time"
)

// TestThrottle: one client that begins logins without end leaves the others theirs,
// also where it has a whole network of IPv6; and all together have a bound.
func TestThrottle(t *testing.T) {
	var th throttle
	now := time.Unix(1_000_000, 0)
	allowed := func(tries int, client func(int) string) (n int) {
		for i := range tries {
			if th.allow(client(i), now) {
				n++
			}
		}
		return n
	}
	one := func(int) string { return "192.0.2.1" }
	network := func(i int) string { return fmt.Sprintf("2001:db8:0:1::%x", i) }
	if got := allowed(flowsMost, one); got != flowsEach {
		t.Errorf("one client begins %d", got)
	}
	if got := allowed(flowsMost, network); got != flowsEach {
		t.Errorf("one network begins %d", got)
	}
	if got := allowed(2*flowsMost, func(i int) string { return fmt.Sprintf("2001:db8:%x:%x::1", 1+i>>16, i&0xffff) }); got != flowsMost-2*flowsEach {
		t.Errorf("the others begin %d", got)
	}
	now = now.Add(flowLife)
	if got := allowed(1, one); got != 1 {
		t.Error("the time is over, and nobody may begin")
	}
}
