// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component

import (
	"bytes"
	"regexp"
	"strings"
)

// secretRule finds one kind of secret. mark is a text every match holds: it is
// searched for first, and the pattern then sees only what stands around it. That
// is many times faster than the pattern alone.
type secretRule struct {
	detail  string
	mark    string
	likely  func(after []byte) bool // a quick look at what follows the mark; nil: always
	pattern *regexp.Regexp          // group 1 is the secret part
	real    func(secret []byte) bool
}

// secretRules know tokens by the prefixes their makers gave them for this very purpose.
var secretRules = []secretRule{
	{"GitHub token", "gh", isGitHubPrefix, regexp.MustCompile(`\bgh[pousr]_([A-Za-z0-9]{36,251})\b`), varied},
	{"GitHub token", "github_pat_", nil, regexp.MustCompile(`\bgithub_pat_([A-Za-z0-9]{22}_[A-Za-z0-9]{59})\b`), varied},
	{"GitLab token", "glpat-", nil, regexp.MustCompile(`\bglpat-([A-Za-z0-9_-]{20,64})\b`), varied},
	{"Slack token", "xox", nil, regexp.MustCompile(`\bxox[abeprs]-([0-9A-Za-z-]{20,250})`), varied},
	{"Slack webhook", "hooks.slack.com/services/", nil, regexp.MustCompile(`hooks\.slack\.com/services/(T[A-Z0-9]{8,}/B[A-Z0-9]{8,}/[A-Za-z0-9]{24})`), varied},
	{"Stripe live key", "k_live_", nil, regexp.MustCompile(`\b[sr]k_live_([A-Za-z0-9]{24,99})\b`), varied},
	{"Google API key", "AIza", nil, regexp.MustCompile(`\bAIza([0-9A-Za-z_-]{35})\b`), varied},
	{"npm token", "npm_", nil, regexp.MustCompile(`\bnpm_([A-Za-z0-9]{36})\b`), varied},
	{"PyPI token", "pypi-AgEI", nil, regexp.MustCompile(`\bpypi-AgEI([A-Za-z0-9_-]{50,})`), varied},
	{"Vault or OpenBao token", "hvs.", nil, regexp.MustCompile(`\bhvs\.([A-Za-z0-9_-]{24,200})`), varied},
	{"database URL with a password", "://", hasPassword, databaseURL, passwordIsReal},
	{"URL with a password", "://", hasPassword, webURL, passwordIsReal},
}

var (
	databaseURL = regexp.MustCompile(`\b(?:postgres|postgresql|mysql|mariadb|mongodb|mongodb\+srv|redis|rediss|amqp|amqps|sqlserver|mssql|clickhouse)(?:\+[a-z0-9]+)?://[^\s:/@"'<>]*:([^\s/@"'<>]{1,200})@[A-Za-z0-9_.-]+`)
	webURL      = regexp.MustCompile(`\b(?:https?|ftps?|ldaps?|smtps?|git\+https|socks5)://[^\s:/@"'<>]+:([^\s/@"'<>]{1,200})@[A-Za-z0-9_.-]+`)
	awsKeyID    = regexp.MustCompile(`\b(?:AKIA|ASIA)[A-Z2-7]{16}\b`)
	awsSecret   = regexp.MustCompile(`(?i)(?:secret|key)[^\n]{0,40}?[=:\s"']([A-Za-z0-9/+]{40})(?:["'\s,;]|$)`)
)

// secretFacts looks for secrets in a file's text. It returns the kind and the
// place of each, never a part of the secret.
func secretFacts(name string, data []byte) []Fact {
	if !isText(data) {
		return nil
	}
	var facts []Fact
	for _, detail := range secretsIn(data) {
		facts = append(facts, Fact{Kind: EmbeddedSecret, Path: "/" + name, Detail: detail})
	}
	if detail := secretByName(name, data); detail != "" {
		facts = append(facts, Fact{Kind: EmbeddedSecret, Path: "/" + name, Detail: detail})
	}
	return facts
}

// isText looks for zero bytes at the start, as git does.
func isText(data []byte) bool {
	return bytes.IndexByte(data[:min(len(data), 1024)], 0) < 0
}

// secretsIn names the kinds of secret in a text, each once.
func secretsIn(data []byte) []string {
	var found []string
	add := func(detail string) {
		for _, f := range found {
			if f == detail {
				return
			}
		}
		found = append(found, detail)
	}
	for _, detail := range privateKeys(data) {
		add(detail)
	}
	if detail := awsKeys(data); detail != "" {
		add(detail)
	}
	for _, rule := range secretRules {
		if rule.found(data) {
			add(rule.detail)
		}
	}
	return found
}

// maxMatches bounds the likely places looked at in one file, for each rule.
const maxMatches = 1000

// found looks at the surroundings of each mark.
func (r secretRule) found(data []byte) bool {
	const before, after = 40, 400
	tries := 0
	for at := 0; tries < maxMatches; at += len(r.mark) {
		i := bytes.Index(data[at:], []byte(r.mark))
		if i < 0 {
			return false
		}
		at += i
		if r.likely != nil && !r.likely(data[at+len(r.mark):]) {
			continue
		}
		tries++
		window := data[max(0, at-before):min(len(data), at+after)]
		for _, m := range r.pattern.FindAllSubmatch(window, 5) {
			if r.real(m[1]) {
				return true
			}
		}
	}
	return false
}

func isGitHubPrefix(after []byte) bool { return len(after) > 36 && after[1] == '_' }

// hasPassword looks for "user:password@" after "://".
func hasPassword(after []byte) bool {
	end := bytes.IndexAny(after[:min(len(after), 300)], " \t\r\n\"'<>/@")
	return end > 0 && after[end] == '@' && bytes.IndexByte(after[:end], ':') >= 0
}

// awsKeys finds an access key id with its secret nearby, or the id alone.
func awsKeys(data []byte) string {
	if !bytes.Contains(data, []byte("AKIA")) && !bytes.Contains(data, []byte("ASIA")) {
		return ""
	}
	const near = 400
	detail := ""
	for _, at := range awsKeyID.FindAllIndex(data, maxMatches) {
		id := data[at[0]:at[1]]
		if isSample(string(id)) || !varied(id[4:]) {
			continue
		}
		around := data[max(0, at[0]-near):min(len(data), at[1]+near)]
		for _, m := range awsSecret.FindAllSubmatch(around, 20) {
			if varied(m[1]) && !isSample(string(m[1])) {
				return "AWS key pair"
			}
		}
		detail = "AWS access key id"
	}
	return detail
}

// varied tells random text from "xxxx..." and "0123456789..." placeholders.
func varied(secret []byte) bool {
	distinct := map[byte]bool{}
	steps := 0
	for i, c := range secret {
		distinct[c] = true
		if i > 0 && (c == secret[i-1]+1 || c == secret[i-1]) {
			steps++
		}
	}
	return len(distinct) >= min(8, len(secret)/2) && steps < len(secret)/2 && !isSample(string(secret))
}

var sampleWords = []string{"example", "xxxx", "your", "changeme", "change-me", "change_me", "placeholder", "redacted", "dummy", "insert", "replace", "todo", "****", "....", "abcdef123456"}

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
var weakWords = strings.Fields("password passwd pass pwd secret user username pw test foo bar baz guest admin root token none null true false mypassword mypass p@ssw0rd passw0rd pass1 key joe secret123 hunter2")

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
