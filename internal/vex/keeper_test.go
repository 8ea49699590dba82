// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package vex_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/storetest"
	"github.com/goldkeep/goldkeep/internal/vex"
)

// TestVendorsAreFetchedWhenDue: once, by one node, with the tag of what is held; what
// fails is shown, tried again later, and told once; what was not settled is fetched whole.
func TestVendorsAreFetchedWhenDue(t *testing.T) {
	storetest.Each(t, func(t *testing.T, st store.Store) {
		ctx := t.Context()
		old := st.Now().Add(-time.Hour)
		answer, sent, same := http.StatusServiceUnavailable, 0, 0
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case answer != http.StatusOK:
				w.WriteHeader(answer)
			case r.Header.Get("If-None-Match") == `"1"`:
				same++
				w.WriteHeader(http.StatusNotModified)
			default:
				sent++
				w.Header().Set("ETag", `"1"`)
				_, _ = w.Write(says("CVE-1", "not_affected", "pkg:deb/debian/zlib", old).Data)
			}
		}))
		defer server.Close()
		b := must(vex.Open(ctx, st))(t)
		var told []string
		settles := errors.New("killed")
		keeper := func(from string) *vex.Keeper {
			return &vex.Keeper{
				Book: b, Temp: t.TempDir(), Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
				Feeds: []vex.Subscription{{Feed: vex.Feed{Vendor: "debian", About: []string{"pkg:deb/debian"}}, From: from}},
				Settle: func(ctx context.Context, c vex.Change) error {
					if settles != nil {
						return settles
					}
					return b.Settle(ctx, c)
				},
				OnFailure: func(_ context.Context, _ store.Tx, vendor, why string) error {
					told = append(told, vendor+": "+why)
					return nil
				},
			}
		}
		step := func(k *vex.Keeper) vex.Vendor {
			t.Helper()
			if err := st.Update(ctx, func(tx store.Tx) error {
				_, err := tx.Exec(ctx, "UPDATE vex_try SET next = 1") // due
				return err
			}); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second time nothing is due
				if err := k.Step(ctx); err != nil {
					t.Fatal(err)
				}
			}
			all := must(b.Vendors(ctx))(t)
			if len(all) != 1 || all[0].Try == nil || !all[0].Try.Next.After(st.Now()) {
				t.Fatalf("vendors %+v", all)
			}
			return all[0]
		}
		k := keeper(server.URL)
		for n := 1; n <= 2; n++ {
			if v := step(k); v.Try.Failures != n || !strings.Contains(v.Try.Error, "503") || v.Documents != 0 {
				t.Errorf("failure %d: %+v %+v", n, v, v.Try)
			}
		}
		if len(told) != 1 || !strings.HasPrefix(told[0], "debian: fetch VEX documents from 127.0.0.1:") {
			t.Errorf("told %q", told)
		}
		answer = http.StatusOK
		if v := step(k); v.Try.Failures != 3 || sent != 1 {
			t.Errorf("not settled: %+v, sent %d times", v.Try, sent)
		}
		settles = nil
		if v := step(k); v.Try.Failures != 0 || v.Try.Error != "" || v.Statements != 1 || sent != 2 {
			t.Errorf("settled: %+v %+v, sent %d times", v, v.Try, sent)
		}
		if v := step(k); sent != 2 || same != 1 || v.Try.Failures != 0 || v.Statements != 1 {
			t.Errorf("unchanged: %+v, sent %d times, asked %d times", v.Try, sent, same)
		}
		if step(keeper(server.URL + "/elsewhere")); sent != 3 {
			t.Errorf("the tag was believed for another address: sent %d times", sent)
		}
	})
}
