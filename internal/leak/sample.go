// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package leak

import "strings"

// varied tells random text from "xxxx..." and "0123456789..." placeholders.
func varied(secret []byte) bool {
	var distinct [256]bool
	kinds, steps := 0, 0
	for i, c := range secret {
		if !distinct[c] {
			distinct[c] = true
			kinds++
		}
		if i > 0 && (c == secret[i-1]+1 || c == secret[i-1]) {
			steps++
		}
	}
	return kinds >= min(8, len(secret)/2) && steps < len(secret)/2 && !isSample(string(secret))
}

// sampleWords stand in manuals in place of a credential; the last are public: the
// key of Microsoft's storage emulator, and a token of GitHub's own manual.
var sampleWords = []string{
	"example", "xxxx", "your", "changeme", "change-me", "change_me", "placeholder", "redacted", "dummy", "insert", "replace", "todo", "****", "....", "abcdef123456",
	"eby8vdm02xno", "16c7e42f292c6912e7710c838347ae178b4a",
}

// isSample knows the words documentation uses in place of a secret.
func isSample(s string) bool {
	lower := strings.ToLower(s)
	for _, w := range sampleWords {
		if strings.Contains(lower, w) {
			return true
		}
	}
	return false
}

// weakWords are passwords nobody means: they stand in manuals and tests.
var weakWords = strings.Fields("password passwd pass pwd secret user username pw test foo bar baz guest admin root token none null true false mypassword mypass p@ssw0rd passw0rd pass1 key joe secret123 hunter2 p4ssw0rd xyzzy")

// passwordIsReal refuses samples, variables and format verbs.
func passwordIsReal(secret []byte) bool {
	s := string(secret)
	if len(s) < 5 || isSample(s) || strings.ContainsAny(s, "${}%<>*[]()|\\,;`") {
		return false
	}
	for _, w := range weakWords {
		if strings.EqualFold(s, w) {
			return false
		}
	}
	return strings.Trim(s, s[:1]) != "" // not one letter over and over
}
