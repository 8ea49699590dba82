// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"os/exec"
	"testing"
)

// TestHvacSuite runs the integration tests hvac's makers wrote for Vault. Which of
// them do not pass is said in hvac/expected.txt, with the reasons.
func TestHvacSuite(t *testing.T) {
	out, err := exec.Command("/usr/bin/python3", "hvac/suite.py", "run", goldkeep).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
