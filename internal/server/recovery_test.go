// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server_test

import "testing"

// TestRecoveryOfKeyFile: a server with a key file has no recovery keys until they are
// made; the next ones need the present ones, and are in force when they came back.
func TestRecoveryOfKeyFile(t *testing.T) {
	w := newWorld(t, nil)
	type answer struct {
		Data struct {
			Nonce    string   `json:"nonce"`
			Complete bool     `json:"complete"`
			Keys     []string `json:"keys"`
			Verify   string   `json:"verification_nonce"`
		} `json:"data"`
	}
	ask := func(path string, body map[string]any) (a answer, err error) {
		err = w.client.Do(t.Context(), "POST", "/v1/sys/rotate/recovery/"+path, body, &a)
		return a, err
	}
	first, err := ask("init", map[string]any{"secret_shares": 3, "secret_threshold": 2})
	if err != nil || !first.Data.Complete || len(first.Data.Keys) != 3 {
		t.Fatalf("%+v, %v", first, err)
	}
	begun, err := ask("init", map[string]any{"secret_shares": 2, "secret_threshold": 2, "require_verification": true})
	if err != nil || begun.Data.Complete {
		t.Fatalf("without the present ones: %+v, %v", begun, err)
	}
	var second, done answer
	for _, key := range first.Data.Keys[1:] {
		if second, err = ask("update", map[string]any{"key": key, "nonce": begun.Data.Nonce}); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range second.Data.Keys {
		if done, err = ask("verify", map[string]any{"key": key, "nonce": second.Data.Verify}); err != nil {
			t.Fatal(err)
		}
	}
	if !done.Data.Complete {
		t.Errorf("%+v", done)
	}
	w.restart() // by its key file, as before
	if begun, err = ask("init", map[string]any{"secret_shares": 1, "secret_threshold": 1}); err != nil {
		t.Fatal(err)
	}
	for _, key := range first.Data.Keys[:2] {
		_, err = ask("update", map[string]any{"key": key, "nonce": begun.Data.Nonce})
	}
	if err == nil {
		t.Error("the old recovery keys agree")
	}
}
