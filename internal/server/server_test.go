// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server_test

import (
	"testing"
)

func TestSecretSurvivesRestart(t *testing.T) {
	w := newWorld(t, nil)
	ctx := t.Context()
	if v, err := w.client.PutSecret(ctx, "secret", "app/db", map[string]any{"password": "hunter2"}); err != nil || v != 1 {
		t.Fatalf("version = %d, %v", v, err)
	}
	w.restart()
	fields, version, err := w.client.Secret(ctx, "secret", "app/db")
	if err != nil || version != 1 || string(fields["password"]) != `"hunter2"` {
		t.Errorf("got %s, version %d, %v", fields, version, err)
	}
}
