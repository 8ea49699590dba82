// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package provenance

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/image"
)

// Summary is a SLSA Verification Summary (slsa.dev/verification_summary/v1): that an
// image passed the rules of one environment. There is none of images that did not.
type Summary struct {
	Verifier     string    // who judged, as a URI
	Time         time.Time // when
	Environment  string
	Rules        string   // hash of the rules, "sha256:..."
	Evidence     string   // hash of the evidence, "sha256:..."
	Levels       []string // more than that it is admitted: the channels it stands in
	ResourceName string   // HOST/REPOSITORY; "": not in a registry
}

// On is the statement on one subject.
func (s Summary) On(subject image.Subject) (*Statement, error) {
	type digests map[string]string
	sum := func(hash string) digests { return digests{"sha256": strings.TrimPrefix(hash, "sha256:")} }
	levels := []string{level("ADMITTED", s.Environment)}
	for _, l := range s.Levels {
		levels = append(levels, level("", l))
	}
	resource := s.ResourceName + "@" + string(subject.Digest)
	if s.ResourceName == "" {
		resource = string(subject.Digest)
	}
	policy := s.Verifier + "/environments/" + s.Environment
	predicate, err := json.Marshal(map[string]any{
		"verifier":           map[string]any{"id": s.Verifier},
		"timeVerified":       s.Time.UTC().Format(time.RFC3339),
		"resourceUri":        resource,
		"policy":             map[string]any{"uri": policy, "digest": sum(s.Rules)},
		"inputAttestations":  []any{map[string]any{"uri": s.Verifier + "/evidence/" + string(subject.Digest), "digest": sum(s.Evidence)}},
		"verificationResult": "PASSED",
		"verifiedLevels":     levels,
		"slsaVersion":        "1.0",
	})
	if err != nil {
		return nil, fmt.Errorf("encode verification summary: %w", err)
	}
	return NewStatement(subject.Digest, VerificationSummary, predicate)
}

// level is the name of a level: GOLDKEEP_ADMITTED_PROD, GOLDKEEP_GOLD.
func level(prefix, name string) string {
	word := strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(name))
	if prefix != "" {
		word = prefix + "_" + word
	}
	return "GOLDKEEP_" + word
}
