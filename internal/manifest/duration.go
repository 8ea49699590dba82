// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Duration is a length of time as people write it: 90s, 15m, 72h, 30d, 2w, and
// sums such as 1d12h. A day is 24 hours, a week 7 days. It is never negative and
// at most MaxDuration. Text, YAML and JSON forms are the same.
type Duration time.Duration

// MaxDuration is the longest Duration: a hundred years of 365 days.
const MaxDuration = Duration(100 * 365 * 24 * time.Hour)

const day = 24 * time.Hour

var units = map[string]time.Duration{
	"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": day, "w": 7 * day,
}

// ParseDuration reads a Duration.
func ParseDuration(text string) (Duration, error) {
	bad := fmt.Errorf("%q is not a length of time: write it like 90s, 72h, 30d or 2w", cut(text))
	rest, total := text, Duration(0)
	if rest == "0" {
		return 0, nil
	}
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil {
			return 0, bad
		}
		rest = rest[digits:]
		letters := len(rest) - len(strings.TrimLeft(rest, "mshdw"))
		unit, known := units[rest[:letters]]
		if !known {
			return 0, bad
		}
		rest = rest[letters:]
		if n > int64(MaxDuration)/int64(unit) || total+Duration(n*int64(unit)) > MaxDuration {
			return 0, fmt.Errorf("%q is too long: at most 100 years are allowed", cut(text))
		}
		total += Duration(n * int64(unit))
	}
	if text == "" {
		return 0, bad
	}
	return total, nil
}

// String returns the shortest usual form: 30d, 36h, 90s, 1h30m.
func (d Duration) String() string {
	left := time.Duration(d)
	if left > 0 && left%day == 0 {
		return strconv.FormatInt(int64(left/day), 10) + "d"
	}
	var text strings.Builder
	for _, unit := range []string{"h", "m", "s", "ms"} {
		if n := left / units[unit]; n > 0 {
			text.WriteString(strconv.FormatInt(int64(n), 10) + unit)
			left -= n * units[unit]
		}
	}
	if text.Len() == 0 {
		return "0s"
	}
	return text.String()
}

// UnmarshalYAML reads a Duration from a scalar.
func (d *Duration) UnmarshalYAML(node *yaml.Node) error {
	if node = resolve(node); node.Kind != yaml.ScalarNode {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %s is not a length of time: write it like 90s, 72h, 30d or 2w", node.Line, describe(node))}}
	}
	parsed, err := ParseDuration(node.Value)
	if err != nil {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %s", node.Line, err)}}
	}
	*d = parsed
	return nil
}

// MarshalYAML writes the text form.
func (d Duration) MarshalYAML() (any, error) { return d.String(), nil }

// MarshalJSON writes the text form.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads the text form.
func (d *Duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("a length of time is text like \"30d\": %w", err)
	}
	parsed, err := ParseDuration(text)
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}
