// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package leak

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
)

// inContext are the credentials that only what stands around them gives away.
func inContext() []rule {
	urls := []string{"s://", "p://", "l://", "b://", "v://", "r://", "e://", "5://"} // the ends of the schemes below
	vault := []string{"VAULT_TOKEN", "BAO_TOKEN", "vault_token", "Vault-Token", "vault-token"}
	return []rule{
		{detail: "database URL with a password", marks: urls, likely: hasPassword, pattern: databaseURL, real: passwordIsReal, text: true},
		{detail: "URL with a password", marks: urls, likely: hasPassword, pattern: webURL, real: passwordIsReal, text: true},
		{detail: "Azure storage key", marks: []string{"AccountKey="}, pattern: lazy(`AccountKey=([A-Za-z0-9+/]{86}==)`), real: varied},
		{detail: "Azure access key", marks: []string{"SharedAccessKey="}, pattern: lazy(`SharedAccessKey=([A-Za-z0-9+/]{43}=)`), real: varied},
		{detail: "Azure shared access signature", marks: []string{"?sig=", "&sig="}, pattern: lazy(`[?&]sig=([A-Za-z0-9%/+]{43,60}(?:%3D|=))`), likely: signed, real: varied},
		{detail: "Twilio credentials", marks: []string{"twilio", "Twilio", "TWILIO"}, pattern: lazy(`(?i:key|sid|token|secret)[A-Za-z_]{0,20}["']?\s{0,3}[:=]\s{0,3}["']?((?:SK)?[0-9a-f]{32})\b`), real: varied, text: true},
		{detail: "Vault or OpenBao token", marks: vault, pattern: lazy(`(?i:token)["']?\s{0,3}[:=]\s{0,3}["']?((?:hv)?[sbr]\.[A-Za-z0-9_.-]{24,})`), real: varied, text: true},
		{detail: "JSON web token", marks: []string{"eyJh", "eyJ0", "eyJr", "eyJj", "eyJ4"}, pattern: jwt, real: tokenIsReal, reach: 6000},
		{detail: "Google service account key", marks: []string{`service_account"`}, pattern: lazy(`"private_key_id"\s*:\s*"([0-9a-f]{40})"`), real: varied, text: true, reach: 4000},
		{detail: "PuTTY private key", marks: []string{"PuTTY-User-Key-File-"}, pattern: lazy(`(?s)PuTTY-User-Key-File-\d.+?Private-Lines: \d+\s+([A-Za-z0-9+/=]{40,})`), real: varied, text: true, reach: 6000},
	}
}

var (
	databaseURL = lazy(`\b(?:postgres|postgresql|mysql|mariadb|mongodb|mongodb\+srv|redis|rediss|amqp|amqps|sqlserver|mssql|clickhouse)(?:\+[a-z0-9]+)?://[^\s:/@"'<>]*:([^\s/@"'<>]+)@[A-Za-z0-9_.-]+`)
	webURL      = lazy(`\b(?:https?|ftps?|ldaps?|smtps?|git\+https|socks5)://[^\s:/@"'<>]+:([^\s/@"'<>]+)@[A-Za-z0-9_.-]+`)
	awsKeyID    = lazy(`\b(?:AKIA|ASIA)[A-Z2-7]{16}\b`)
	awsSecret   = lazy(`(?i)(?:secret|key)[^\n]{0,40}?[=:\s"']([A-Za-z0-9/+]{40})(?:["'\s,;]|$)`)
	jwt         = lazy(`\b(eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,})`)
)

// hasPassword looks for "user:password@" after "s://".
func hasPassword(after []byte) bool {
	const mark = len("s://")
	after = after[mark:min(len(after), mark+300)]
	end := bytes.IndexAny(after, " \t\r\n\"'<>/@")
	return end > 0 && after[end] == '@' && bytes.IndexByte(after[:end], ':') >= 0
}

// signed leaves out signatures that are no more than a parameter of that name.
func signed(after []byte) bool { return len(after) > 48 && bytes.IndexByte(after[:48], ' ') < 0 }

// registered are the claims of RFC 7519 that a token people trust has one of.
var registered = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti"}

// tokenIsReal takes a JSON web token apart: both parts are JSON, it is signed, and
// it is not the one that manuals show.
func tokenIsReal(token []byte) bool {
	parts := strings.Split(string(token), ".")
	header, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		return false
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return false
	}
	var h struct {
		Algorithm string `json:"alg"`
	}
	var c map[string]any
	if json.Unmarshal(header, &h) != nil || json.Unmarshal(claims, &c) != nil {
		return false
	}
	if h.Algorithm == "" || strings.EqualFold(h.Algorithm, "none") || !slices.ContainsFunc(registered, func(name string) bool { return c[name] != nil }) {
		return false
	}
	for _, sample := range []string{"john doe", "1234567890", "example", "\"joe\"", "test", "foo", "sample", "dummy"} {
		if strings.Contains(strings.ToLower(string(claims)), sample) {
			return false
		}
	}
	return varied([]byte(parts[2]))
}
