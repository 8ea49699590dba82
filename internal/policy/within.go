// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package policy

import "strings"

// Within is the set as it is seen from a namespace below the one its policies were
// written in: a path "secret/data/a" asked for there is judged as
// prefix+"secret/data/a". The prefix ends in a slash; "" is the set itself.
func (s Set) Within(prefix string) Set {
	s.prefix += prefix
	return s
}

// inside keeps the rules that are about paths below the prefix, under the names
// these have there.
func (s Set) inside(rules map[string]Granted) map[string]Granted {
	if s.prefix == "" {
		return rules
	}
	kept := map[string]Granted{}
	for path, rule := range rules {
		if below, ok := strings.CutPrefix(path, s.prefix); ok {
			kept[below] = rule
		}
	}
	return kept
}
