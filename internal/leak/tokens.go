// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package leak

import (
	"regexp"
	"sync"
)

// lazy is a pattern that is compiled when it is first used: most commands look for no
// credentials, and should not start slower for it.
func lazy(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

// rule finds one kind of credential. Every match holds one of its marks: these are
// searched for first, all rules' at once, and the pattern then sees only what
// stands around them.
type rule struct {
	detail  string
	marks   []string
	likely  func(after []byte) bool // a quick look at what begins with the mark; nil: always
	pattern func() *regexp.Regexp   // the last group that matches is the secret part
	real    func(secret []byte) bool
	text    bool // only in text: in programs and databases it would find what is none
	reach   int  // bytes after the mark that the pattern sees; 0: afterMark
}

// token is a rule for a token of its maker's own form: the mark begins it.
func token(detail, mark, rest string) rule {
	return rule{detail: detail, marks: []string{mark}, pattern: lazy(`\b` + regexp.QuoteMeta(mark) + rest), real: varied}
}

// tokens are several that differ in the mark only.
func tokens(detail, rest string, marks ...string) []rule {
	var all []rule
	for _, m := range marks {
		all = append(all, token(detail, m, rest))
	}
	return all
}

const (
	b62    = `[A-Za-z0-9]`
	b64url = `[A-Za-z0-9_-]`
	hexes  = `[0-9a-f]`
)

// known are the tokens whose makers gave them a mark for this very purpose.
func known() []rule {
	var all []rule
	add := func(rules ...rule) { all = append(all, rules...) }
	add(tokens("GitHub token", `(`+b62+`{36,})\b`, "ghp_", "gho_", "ghu_", "ghs_", "ghr_")...)
	add(token("GitHub token", "github_pat_", `(`+b62+`{22}_`+b62+`{59})\b`))
	add(tokens("GitLab token", `(`+b64url+`{20,64})\b`, "glpat-", "gldt-", "glrt-", "glptt-", "glft-", "glsoat-", "glagent-", "glimt-", "glcbt-", "GR1348941")...)
	add(tokens("Slack token", `([0-9A-Za-z-]{20,})`, "xoxa-", "xoxb-", "xoxe-", "xoxp-", "xoxr-", "xoxs-", "xoxe.xoxp-", "xapp-1-")...)
	add(token("Slack webhook", "hooks.slack.com/services/", `(T[A-Z0-9]{8,}/B[A-Z0-9]{8,}/[A-Za-z0-9]{24})`))
	add(tokens("Stripe live key", `(`+b62+`{24,})\b`, "sk_live_", "rk_live_")...)
	add(token("Stripe webhook secret", "whsec_", `([A-Za-z0-9+/]{32,64})`))
	add(token("Google API key", "AIza", `(`+b64url+`{35})(?:[^A-Za-z0-9_-]|$)`))
	add(token("Google client secret", "GOCSPX-", `(`+b64url+`{28})(?:[^A-Za-z0-9_-]|$)`))
	add(tokens("npm token", `(`+b62+`{36})\b`, "npm_")...)
	add(token("PyPI token", "pypi-AgEI", `(`+b64url+`{50,})`))
	add(token("RubyGems token", "rubygems_", `(`+hexes+`{48})\b`))
	add(tokens("Docker Hub token", `(`+b64url+`{27,40})(?:[^A-Za-z0-9_-]|$)`, "dckr_pat_", "dckr_oat_")...)
	add(tokens("OpenAI key", `(`+b64url+`{40,})`, "sk-proj-", "sk-svcacct-", "sk-admin-")...)
	add(rule{detail: "OpenAI key", marks: []string{"T3BlbkFJ"}, pattern: lazy(`\bsk-(` + b64url + `{20,80}T3BlbkFJ` + b64url + `{20,80})`), real: varied})
	add(tokens("Anthropic key", `(`+b64url+`{80,})`, "sk-ant-api03-", "sk-ant-admin01-", "sk-ant-oat01-")...)
	add(rule{detail: "SendGrid key", marks: followed("SG."), pattern: lazy(`\bSG\.(` + b64url + `{22}\.` + b64url + `{43})(?:[^A-Za-z0-9_-]|$)`), real: varied})
	add(tokens("Vault or OpenBao token", `(`+b64url+`{24,})`, "hvs.", "hvb.", "hvr.")...)
	add(tokens("Goldkeep token", `(`+b64url+`{20,})`, "gks.", "gkb.", "gkw.")...)
	add(rule{detail: "Terraform token", marks: []string{".atlasv1."}, pattern: lazy(`\b(` + b62 + `{14}\.atlasv1\.` + b64url + `{60,70})`), real: varied})
	add(tokens("DigitalOcean token", `(`+hexes+`{64})\b`, "dop_v1_", "doo_v1_", "dor_v1_")...)
	add(tokens("Shopify token", `([a-fA-F0-9]{32})\b`, "shpat_", "shpss_", "shpca_", "shppa_")...)
	add(token("Hugging Face token", "hf_", `([A-Za-z]{34})\b`).marked(followed("hf_")))
	add(tokens("Grafana token", `(`+b64url+`{32,})`, "glsa_", "glc_eyJ")...)
	add(tokens("Databricks token", `(`+hexes+`{32})(?:-\d)?\b`, "dapi")...)
	add(token("age secret key", "AGE-SECRET-KEY-1", `([QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58})\b`))
	add(tokens("Pulumi token", `(`+hexes+`{40})\b`, "pul-")...)
	add(token("Postman key", "PMAK-", `([a-f0-9]{24}-[a-f0-9]{34})\b`))
	add(token("New Relic key", "NRAK-", `([A-Z0-9]{27})\b`))
	add(tokens("Atlassian token", `([A-Za-z0-9_=-]{100,})`, "ATATT3xFfGF0")...)
	add(tokens("Tailscale key", `(`+b62+`{6,30}-`+b62+`{20,60})\b`, "tskey-auth-", "tskey-api-", "tskey-client-")...)
	add(tokens("SonarQube token", `(`+hexes+`{40})\b`, "sqp_", "squ_", "sqa_")...)
	add(tokens("Sentry token", `([A-Za-z0-9_=+/-]{60,})`, "sntrys_", "sntryu_")...)
	add(token("Linear key", "lin_api_", `(`+b62+`{40})\b`))
	add(token("Dynatrace token", "dt0c01.", `([A-Z0-9]{24}\.[A-Z0-9]{64})\b`))
	return all
}

// marked gives a rule other marks than the one it begins with.
func (r rule) marked(marks []string) rule {
	r.marks = marks
	return r
}

// followed makes marks of one that is too short to be searched for: with each of
// the letters that may follow it.
func followed(short string) []string {
	var all []string
	for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-" {
		all = append(all, short+string(c))
	}
	return all
}
