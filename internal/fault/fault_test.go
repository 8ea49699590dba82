// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/goldkeep/goldkeep/internal/fault"
)

func TestKindSurvivesWrapping(t *testing.T) {
	err := fmt.Errorf("read thing: %w", fault.New(fault.NotFound, "no thing %q", "x").WithHint("make one"))
	if got := fault.KindOf(err); got != fault.NotFound {
		t.Errorf("kind = %v, want not_found", got)
	}
	if got := fault.HintOf(err); got != "make one" {
		t.Errorf("hint = %q", got)
	}
	if got, want := err.Error(), `read thing: no thing "x"`; got != want {
		t.Errorf("text = %q, want %q", got, want)
	}
}

func TestUnclassifiedIsNeverShown(t *testing.T) {
	if got := fault.Public(errors.New("dial 10.0.0.7: refused")); got != "internal error" {
		t.Errorf("public = %q", got)
	}
}

func TestCauseIsKeptOnceInText(t *testing.T) {
	err := fault.New(fault.Invalid, "read layer: %w", io.ErrUnexpectedEOF)
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("cause lost")
	}
	if got, want := err.Error(), "read layer: unexpected EOF"; got != want {
		t.Errorf("text = %q, want %q", got, want)
	}
}

func TestContextEndsAreUnavailable(t *testing.T) {
	if got := fault.KindOf(fmt.Errorf("x: %w", context.DeadlineExceeded)); got != fault.Unavailable {
		t.Errorf("kind = %v", got)
	}
}

func TestNamesRoundTrip(t *testing.T) {
	for k := fault.Internal; k <= fault.Limited; k++ {
		if fault.KindNamed(k.String()) != k {
			t.Errorf("kind %d does not survive its name %q", k, k)
		}
	}
}
