// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"bytes"
	"regexp"
	"strings"
	"unicode"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// ignoring matches "goldkeep ignore RULE, RULE: reason" in a comment.
var ignoring = regexp.MustCompile(`^goldkeep[ :]ignore[ =]\s*([a-z][a-z, -]*?)\s*(?::\s*(.*))?$`)

// ignored reads the comments above an instruction: rule to reason.
func (c *checker) ignored(comments []string) map[string]string {
	reasons := map[string]string{}
	for _, comment := range comments {
		m := ignoring.FindStringSubmatch(comment)
		if m == nil {
			continue
		}
		reason := strings.TrimSpace(m[2])
		if reason == "" {
			c.findAt(ruleOf(noReason), "ignoring "+m[1]+" needs a reason", c.node.StartLine, nil)
			continue
		}
		for _, id := range strings.FieldsFunc(m[1], func(r rune) bool { return r == ',' || r == ' ' }) {
			reasons[id] = oneLine(reason)
		}
	}
	return reasons
}

// aliases are checks of BuildKit that say the same as rules of ours.
var aliases = map[string][]string{"SecretsUsedInArgOrEnv": {secretName, secretArg}}

// skipped reads BuildKit's own directive, "# check=skip=NAME,NAME", at the top of a
// file. Rules of ours may be named in it. "all" means BuildKit's own only: the
// word was not written to switch ours off.
func skipped(data []byte) map[string]bool {
	skips := map[string]bool{}
	directives := parser.DirectiveParser{}
	found, err := directives.ParseAll(data)
	if err != nil {
		return skips
	}
	for _, d := range found {
		if d.Name != "check" {
			continue
		}
		for option := range strings.SplitSeq(d.Value, ";") {
			names, ok := strings.CutPrefix(strings.TrimSpace(option), "skip=")
			if !ok {
				continue
			}
			for name := range strings.SplitSeq(names, ",") {
				skips[strings.TrimSpace(name)] = true
				for _, id := range aliases[strings.TrimSpace(name)] {
					skips[id] = true
				}
			}
		}
	}
	if skips["all"] {
		skips[buildkit] = true
	}
	return skips
}

// oneLine makes text of the file fit to be shown.
func oneLine(text string) string {
	const longest = 300
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, text)
	if len(text) > longest {
		text = string(bytes.ToValidUTF8([]byte(text[:longest]), nil)) + "..."
	}
	return text
}
