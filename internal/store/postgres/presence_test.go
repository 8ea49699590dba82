// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store/postgres"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
)

// TestAlone: nobody is alone while others are there, and nobody comes while somebody
// is.
func TestAlone(t *testing.T) {
	dsn, elsewhere := storetest.PostgresDSN(t), storetest.PostgresDSN(t)
	ctx := t.Context()
	open := func(dsn string) *postgres.Store {
		t.Helper()
		s, err := postgres.Open(ctx, dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	one, two, three := open(dsn), open(dsn), open(dsn)
	open(elsewhere)
	if _, err := one.Alone(ctx); !fault.Is(err, fault.Conflict) || !strings.Contains(err.Error(), "2 other servers") {
		t.Errorf("%v", err)
	}
	if err := two.Close(); err != nil {
		t.Fatal(err)
	}
	if err := three.Close(); err != nil {
		t.Fatal(err)
	}
	release, err := one.Alone(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := postgres.Open(ctx, dsn); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "restoring a snapshot") {
		t.Errorf("another one comes: %v", err)
	}
	release()
	open(dsn)
	if _, err := one.Alone(ctx); !fault.Is(err, fault.Conflict) {
		t.Errorf("%v", err)
	}
}
