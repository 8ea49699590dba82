// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package oidc

import "testing"

// TestHalfHash has the example of OpenID Connect Core 1.0, appendix A.4 (c_hash of A.4, at_hash of A.3).
func TestHalfHash(t *testing.T) {
	if got := halfHash("RS256", "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"); got != "77QmUPtjPfzWtF2AnpK9RQ" {
		t.Errorf("at_hash %s", got)
	}
	if got := halfHash("RS256", "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk"); got != "LDktKdoQak3Pk0cnXxCltA" {
		t.Errorf("c_hash %s", got)
	}
}
