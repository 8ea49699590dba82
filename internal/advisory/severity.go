// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"strings"

	gocvss20 "github.com/pandatix/go-cvss/20"
	gocvss30 "github.com/pandatix/go-cvss/30"
	gocvss31 "github.com/pandatix/go-cvss/31"
	gocvss40 "github.com/pandatix/go-cvss/40"
)

// BaseScore computes the base score of a CVSS vector of version 2.0, 3.0, 3.1 or
// 4.0, from 0 to 10; false where the vector is not understood.
func BaseScore(vector string) (float64, bool) {
	switch {
	case strings.HasPrefix(vector, "CVSS:4.0/"):
		v, err := gocvss40.ParseVector(vector)
		if err != nil {
			return 0, false
		}
		return v.Score(), true
	case strings.HasPrefix(vector, "CVSS:3.1/"):
		v, err := gocvss31.ParseVector(vector)
		if err != nil {
			return 0, false
		}
		return v.BaseScore(), true
	case strings.HasPrefix(vector, "CVSS:3.0/"):
		v, err := gocvss30.ParseVector(vector)
		if err != nil {
			return 0, false
		}
		return v.BaseScore(), true
	}
	v, err := gocvss20.ParseVector(strings.Trim(vector, "()"))
	if err != nil {
		return 0, false
	}
	return v.BaseScore(), true
}

// Level names the band a CVSS score falls in (CVSS 3.1 and 4.0, "Qualitative
// severity rating scale"); it is used for version 2 scores too.
func Level(score float64) string {
	switch {
	case score >= 9:
		return "critical"
	case score >= 7:
		return "high"
	case score >= 4:
		return "medium"
	case score > 0:
		return "low"
	}
	return "none"
}

// levelNamed understands the words feeds use for a level; "" for any other.
func levelNamed(word string) string {
	switch strings.ToLower(strings.TrimSpace(word)) {
	case "critical":
		return "critical"
	case "high", "important":
		return "high"
	case "medium", "moderate":
		return "medium"
	case "low":
		return "low"
	case "none", "negligible", "unimportant":
		return "none"
	}
	return ""
}
