// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/json"
	"io"
	"time"

	"github.com/goldkeep/goldkeep/internal/verdict"
)

// Schema names the form of JSON reports. Fields may be added to it, never
// changed; see docs/check-json.md.
const Schema = "goldkeep.dev/check/v1"

type document struct {
	Schema           string           `json:"schema"`
	Version          string           `json:"version"`
	Time             time.Time        `json:"time"`
	verdict.Evidence                  // its fields stand beside the others
	Verdict          *verdict.Verdict `json:"verdict"`
}

// JSON writes everything that is known, in Goldkeep's own stable form.
func JSON(w io.Writer, r Result) error {
	return encode(w, document{Schema: Schema, Version: r.Version, Time: r.Time.UTC(), Evidence: presentable(r).Evidence, Verdict: r.Verdict})
}

func encode(w io.Writer, value any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(value)
}
