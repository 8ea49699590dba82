// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/keeper"
	"github.com/goldkeep/goldkeep/internal/server"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
)

// TestRestoreAlone: of two servers on one database neither is restored, running or
// not, until the other one has been stopped.
func TestRestoreAlone(t *testing.T) {
	dsn := storetest.PostgresDSN(t)
	one := newWorld(t, func(c *server.Config) { c.Database = dsn })
	key := one.config.KeyFile
	one.put("hunter2")
	name := one.snapshot()
	one.put("changed")
	two := newWorld(t, func(c *server.Config) { c.Database, c.KeyFile = dsn, key })
	two.client = two.client.WithToken(one.root)
	if err := one.restore(name, false); err == nil || !strings.Contains(err.Error(), "1 other servers use this database") {
		t.Errorf("%v", err)
	}
	if got := two.get(); got != `"changed"` {
		t.Errorf("the other server reads %s", got)
	}
	t.Setenv("GOLDKEEP_DATABASE_URL", dsn)
	if _, err := server.Offline().Restore(t.Context(), keeper.OfflineRequest{File: name, Data: one.config.Data}); err == nil {
		t.Error("restored under running servers")
	}
	if err := two.stop(); err != nil {
		t.Fatal(err)
	}
	if err := one.restore(name, false); err != nil {
		t.Fatal(err)
	}
	if got := one.get(); got != `"hunter2"` {
		t.Errorf("restored: %s", got)
	}
}
