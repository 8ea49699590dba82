// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package leak

import (
	"strconv"
	"strings"
)

// secretName matches the names of settings that hold secrets.
var secretName = lazy(`(?i)(?:^|_|-|[a-z])(?:SECRET|PASSWORD|PASSWD|PASSPHRASE|(?:_|^)PASS|(?:_|^)PWD|TOKEN|API_?KEY|ACCESS_KEY|SECRET_KEY|ENCRYPTION_KEY|SIGNING_KEY|PRIVATE_KEY|CREDENTIALS?)$`)

// NamesSecret reports whether a setting of this name is there to hold a secret.
func NamesSecret(name string) bool { return secretName().MatchString(name) }

const namedAsSecret = "value of a variable named as a secret"

// InSetting judges one variable by its value and its name.
func InSetting(name, value string) []string {
	if name == "AWS_SECRET_ACCESS_KEY" && varied([]byte(value)) && len(value) == 40 {
		return []string{"AWS secret access key"}
	}
	if found := In([]byte(value)); len(found) > 0 {
		return found
	}
	const shortest = 8
	if NamesSecret(name) && len(value) >= shortest && passwordIsReal([]byte(value)) && !strings.HasPrefix(value, "/") && !isNumber(value) {
		return []string{namedAsSecret}
	}
	return nil
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

// assignment matches NAME=value and --name=value in a command.
var assignment = lazy(`\b([A-Za-z_][A-Za-z0-9_-]{2,80})=("[^"]*"|'[^']*'|[^\s;&|"',\]]+)`)

// InCommand judges a command with its assignments: a build step, an entry point.
func InCommand(text string) []string {
	if found := In([]byte(text)); len(found) > 0 {
		return found
	}
	for _, m := range assignment().FindAllStringSubmatch(text, maxTries) {
		if found := InSetting(m[1], strings.Trim(m[2], `"'`)); len(found) > 0 {
			return found
		}
	}
	return nil
}
