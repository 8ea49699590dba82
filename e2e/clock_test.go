// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"context"
	"database/sql"
	"testing"
	"time"

	_ "modernc.org/sqlite"
)

// TestClockStepsAcrossRestart: while the server does not run, the machine's clock is
// set back by two hours: to the server that is as if what it wrote down last lay two
// hours ahead. It goes on from there: what lives one hour is over, also after a
// further restart, and what lives three hours is not.
func TestClockStepsAcrossRestart(t *testing.T) {
	s := newServer(t, nil)
	short, long := s.token(map[string]any{"ttl": "1h"}), s.token(map[string]any{"ttl": "3h"})
	alive := func(token string) bool {
		t.Helper()
		status, body := s.ask(token, "GET", "/v1/auth/token/lookup-self", "")
		if status != 200 && status != 403 {
			t.Fatalf("%d %s", status, body)
		}
		return status == 200
	}
	if !alive(short) || !alive(long) {
		t.Fatal("the tokens do not work")
	}
	s.kill()
	step(t, s.path("data", "goldkeep.db"), 2*time.Hour)
	for _, when := range []string{"after the step", "after a further restart"} {
		s.start()
		if alive(short) {
			t.Errorf("%s: a token that lives an hour works", when)
		}
		if !alive(long) {
			t.Errorf("%s: a token that lives three hours is gone", when)
		}
		var health struct {
			Now int64 `json:"server_time_utc"`
		}
		s.do("GET", "/v1/sys/health", nil, &health)
		if ahead := time.Until(time.Unix(health.Now, 0)); ahead < 119*time.Minute {
			t.Errorf("%s: the server's clock is ahead by %s", when, ahead)
		}
		fresh := s.token(map[string]any{"ttl": "1h"})
		if !alive(fresh) {
			t.Errorf("%s: a new token does not work", when)
		}
		s.do("POST", "/v1/secret/data/a", map[string]any{"data": map[string]string{"k": "v"}}, nil)
		s.kill()
	}
}

// step moves the time a database has written down.
func step(t *testing.T, name string, by time.Duration) {
	t.Helper()
	db, err := sql.Open("sqlite", name)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	result, err := db.ExecContext(context.Background(), "UPDATE store_clock SET now = now + ?", by.Milliseconds())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := result.RowsAffected(); err != nil || n != 1 {
		t.Fatalf("%d rows, %v", n, err)
	}
}
