// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package otp makes and compares codes that change with time (TOTP, RFC 6238), and
// shows their secrets as authenticator apps read them. It keeps nothing: that a code
// counts once, and how many may be tried, is up to its callers.
package otp

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"
	"image/png"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/boombuler/barcode"
	"github.com/boombuler/barcode/qr"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// Codes are the codes of one secret.
type Codes struct {
	Secret    []byte
	Algorithm string // see Known
	Period    int    // seconds, at least 1
	Digits    int    // 6 or 8
	Skew      int    // how many periods before and after a code is accepted
}

var hashes = map[string]func() hash.Hash{"SHA1": sha1.New, "SHA256": sha256.New, "SHA512": sha512.New}

// Known reports whether an algorithm is one of RFC 6238: SHA1, SHA256, SHA512.
func Known(algorithm string) bool { return hashes[algorithm] != nil }

// Counter is the number of periods since 1970.
func (c Codes) Counter(now time.Time) uint64 { return uint64(now.Unix()) / uint64(c.Period) }

// At is the code of a counter: RFC 4226, section 5.3.
func (c Codes) At(counter uint64) string {
	mac := hmac.New(hashes[c.Algorithm], c.Secret)
	_, _ = mac.Write(binary.BigEndian.AppendUint64(nil, counter)) // a hash never fails
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0x0f
	number := binary.BigEndian.Uint32(sum[at:]) & 0x7fffffff
	modulus := uint32(1_000_000)
	if c.Digits == 8 {
		modulus = 100_000_000
	}
	return fmt.Sprintf("%0*d", c.Digits, number%modulus)
}

// Match finds the counter a code belongs to, among those accepted now. All are
// looked at, whichever fits.
func (c Codes) Match(code string, now time.Time) (counter uint64, ok bool) {
	for step := -c.Skew; step <= c.Skew; step++ {
		n := c.Counter(now) + uint64(step) // wraps for -1, as it should
		if subtle.ConstantTimeCompare([]byte(c.At(n)), []byte(code)) == 1 {
			counter, ok = n, true
		}
	}
	return counter, ok
}

// URL is the secret as authenticator apps read it (otpauth://totp/...).
func (c Codes) URL(issuer, account string) string {
	q := url.Values{}
	q.Set("secret", base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(c.Secret))
	q.Set("issuer", issuer)
	q.Set("period", strconv.Itoa(c.Period))
	q.Set("algorithm", c.Algorithm)
	q.Set("digits", strconv.Itoa(c.Digits))
	return "otpauth://totp/" + url.PathEscape(issuer+":"+account) + "?" + strings.ReplaceAll(q.Encode(), "+", "%20")
}

// Picture is a text as QR code: PNG of size pixels a side, in base64. fault.Invalid
// where it does not fit.
func Picture(text string, size int) (string, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return "", fault.New(fault.Invalid, "the key is too long for a QR code").WithHint("set qr_size to 0")
	}
	if code, err = barcode.Scale(code, size, size); err != nil {
		return "", fault.New(fault.Invalid, "the QR code does not fit into %d pixels", size).WithHint("set qr_size higher, or to 0")
	}
	var b bytes.Buffer
	if err := png.Encode(&b, code); err != nil {
		return "", fmt.Errorf("draw QR code: %w", err)
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), nil
}
