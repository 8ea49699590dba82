// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

//go:build data

package sbom_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/report"
	"github.com/goldkeep/goldkeep/internal/sbom"
	"github.com/goldkeep/goldkeep/internal/scan"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// TestSameFindings: an image and its bill of materials have the same findings. Run
// it with the test data's folder:
//
//	GOLDKEEP_DATA=DIR go test -tags data ./internal/sbom
func TestSameFindings(t *testing.T) {
	dir := os.Getenv("GOLDKEEP_DATA")
	images, err := filepath.Glob(filepath.Join(dir, "images", "*.oci.tar"))
	if err != nil || dir == "" || len(images) < 6 {
		t.Fatalf("set GOLDKEEP_DATA to the folder of the test data: %v %v", images, err)
	}
	st, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "advisories.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	idx := advisory.New(st)
	if err := idx.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := idx.Sync(t.Context(), dir, advisory.SyncOptions{}); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	checked := 0
	for _, file := range images {
		for _, platform := range []string{"linux/amd64", "linux/arm64"} {
			if platform == "linux/arm64" && filepath.Base(file) != "multi.oci.tar" {
				continue
			}
			checked++
			t.Run(filepath.Base(file)+" "+platform, func(t *testing.T) {
				img, err := image.Open(t.Context(), file, image.Options{Platform: platform})
				if err != nil {
					t.Fatal(err)
				}
				defer img.Close()
				direct, err := scan.Scan(t.Context(), img, scan.Deps{Advisories: idx, Now: func() time.Time { return now }})
				if err != nil {
					t.Fatal(err)
				}
				for _, format := range []string{"cyclonedx", "spdx"} {
					again := throughBill(t, idx, format, direct, now)
					if diff := cmp.Diff(direct.Findings, again.Findings); diff != "" {
						t.Errorf("%s: %s", format, diff)
					}
					if diff := cmp.Diff(direct.Gaps, again.Gaps); diff != "" {
						t.Errorf("%s: gaps: %s", format, diff)
					}
					t.Logf("%s: %d components, %d findings", format, len(again.Components), len(again.Findings))
				}
			})
		}
	}
	if checked != 7 {
		t.Errorf("%d images", checked)
	}
}

func throughBill(t *testing.T, idx *advisory.Index, format string, ev verdict.Evidence, now time.Time) verdict.Evidence {
	t.Helper()
	var out bytes.Buffer
	if err := report.Write(&out, format, report.Result{Evidence: ev, Time: now, Version: "1"}, report.Options{}); err != nil {
		t.Fatal(err)
	}
	bill, err := sbom.Read(&out, sbom.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := scan.Bill(t.Context(), bill, idx, now)
	if err != nil {
		t.Fatal(err)
	}
	return again
}
