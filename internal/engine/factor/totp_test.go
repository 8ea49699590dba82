// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package factor

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// TestCodes has the vectors of RFC 6238, appendix B.
func TestCodes(t *testing.T) {
	keys := map[string]string{"SHA1": "12345678901234567890", "SHA256": "12345678901234567890123456789012", "SHA512": "1234567890123456789012345678901234567890123456789012345678901234"}
	for algorithm, want := range map[string]map[uint64]string{
		"SHA1":   {1: "94287082", 0x23523EC: "07081804", 0x27BC86AA: "65353130"},
		"SHA256": {1: "46119246", 0x23523EC: "68084774", 0x27BC86AA: "77737706"},
		"SHA512": {1: "90693936", 0x23523EC: "25091201", 0x27BC86AA: "47863826"},
	} {
		c := totp{Period: 30, Digits: 8, Algorithm: algorithm}
		for counter, code := range want {
			if got := c.codes([]byte(keys[algorithm])).At(counter); got != code {
				t.Errorf("%s at %d: %s, want %s", algorithm, counter, got, code)
			}
		}
	}
}

// TestTries: a code is good once, no older one after it; wrong ones are counted for a
// while.
func TestTries(t *testing.T) {
	now := time.Unix(3000, 0)
	s := secret{Key: []byte("12345678901234567890"), TOTP: totp{Period: 30, Digits: 6, Algorithm: "SHA1", Skew: 1}}
	code := func(step int) string { return s.TOTP.codes(s.Key).At(uint64(100 + step)) }
	try := func(code string, at time.Time, want bool) {
		t.Helper()
		if err := s.try(code, 2, at); (err == nil) != want || err != nil && !fault.Is(err, fault.Denied) {
			t.Errorf("%s at %v: %v", code, at.Unix(), err)
		}
	}
	try(code(2), now, false)
	try(code(0), now, true)
	try(code(0), now, false)
	try(code(-1), now, false)
	try(code(1), now, true)
	try(code(0), now, false)
	for range 2 {
		try("", now.Add(time.Minute), false)
	}
	try(code(2), now.Add(time.Minute), false)
	try(code(12), now.Add(6*time.Minute), true) // forgotten by then
}

// FuzzSettings: a settings file is read or refused with a clear error.
func FuzzSettings(f *testing.F) {
	f.Add("use_signature=true\ntoken=t\nidp_url=https://x\n")
	f.Add("# text\n\norg_alias = a=b")
	f.Add("=\x00")
	f.Fuzz(func(t *testing.T, text string) {
		m := method{Type: "pingid", Text: map[string]string{"settings_file_base64": base64.StdEncoding.EncodeToString([]byte(text))}, Yes: map[string]bool{}}
		if err := m.takeSettings(); err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("unclassified: %v", err)
		}
	})
}
