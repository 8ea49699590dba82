// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package finding

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Urgency says when somebody should act, in the words of SSVC for deployers
// (https://certcc.github.io/SSVC/). Severity is not urgency.
type Urgency string

// The urgencies, most urgent first.
const (
	Immediate  Urgency = "immediate"    // now, whatever else is planned
	OutOfCycle Urgency = "out-of-cycle" // at the next opportunity, before the regular update
	Scheduled  Urgency = "scheduled"    // with the next regular update
	Defer      Urgency = "defer"        // nothing to do now
)

var urgencies = []Urgency{Immediate, OutOfCycle, Scheduled, Defer}

// likely is the EPSS probability from which exploitation in the next 30 days is
// taken into account. It is a choice: low enough to come before the exploit, high
// enough to keep the list of a usual image short.
const likely = 0.1

// urgency decides how urgent a finding is, and says why in one line. It reads
// nothing but the finding; docs/urgency.md has the table.
func urgency(f Finding) (Urgency, string) {
	if f.Hidden != "" {
		return Defer, "not counted: " + f.Hidden
	}
	step := 2 // scheduled
	switch {
	case f.Exploited, f.Severity == "critical" && (f.EPSS >= likely || f.Reach == Listening):
		step = 0
	case f.Severity == "critical", f.EPSS >= likely, f.Severity == "high" && f.Reach == Listening:
		step = 1
	case f.Severity == "low", f.Severity == "none":
		step = 3
	}
	if unused(&f) {
		step++
	}
	return urgencies[min(step, len(urgencies)-1)], strings.Join(grounds(f), ", ")
}

// unused: the flawed code is known not to be in the program, or was never seen running.
func unused(f *Finding) bool {
	return f.Linked != nil && !*f.Linked || f.Executed != nil && !*f.Executed
}

// grounds are the facts that decide the urgency, most telling first.
func grounds(f Finding) []string {
	var out []string
	if f.Exploited {
		text := "known to be exploited"
		if f.Ransomware {
			text += " by ransomware"
		}
		if !f.Due.IsZero() {
			text += " (CISA: fix by " + f.Due.UTC().Format(time.DateOnly) + ")"
		}
		out = append(out, text)
	}
	switch {
	case f.Score > 0:
		out = append(out, fmt.Sprintf("%s (CVSS %.1f)", f.Severity, f.Score))
	case slices.Contains(levels, f.Severity):
		out = append(out, f.Severity)
	default:
		out = append(out, "severity not stated")
	}
	if f.EPSS >= likely {
		out = append(out, fmt.Sprintf("exploitation likely (EPSS %.0f%%)", f.EPSS*100))
	}
	switch f.Reach {
	case Listening:
		out = append(out, "reachable (seen listening)")
	case Exposed:
		out = append(out, "may be reachable (declares a port)")
	}
	if f.Linked != nil && !*f.Linked {
		out = append(out, "flawed part not linked in")
	}
	if f.Executed != nil {
		out = append(out, map[bool]string{true: "seen running", false: "not seen running"}[*f.Executed])
	}
	if f.Fixed == "" {
		out = append(out, "no fix")
	}
	return out
}
