// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"syscall"
	"time"
)

// Web says how webhooks are called.
type Web struct {
	// Allow are the networks webhooks may be in beside the public internet: a
	// server inside must not be a way for others to reach what is inside.
	Allow []netip.Prefix
	// Roots vouch for the receivers; nil: those of the machine.
	Roots *x509.CertPool
}

// sender sends digests out.
type sender struct {
	web  *http.Client
	smtp Mail
	from string // how this server is called
}

// The limits of one call.
const (
	webTime   = 15 * time.Second
	maxAnswer = 4 << 10   // bytes read of an answer
	maxHeader = 32 << 10  // bytes
	maxPost   = 512 << 10 // bytes
)

func newSender(o Options) (sender, error) {
	if err := o.Mail.Check(); err != nil {
		return sender{}, err
	}
	dialer := &net.Dialer{Timeout: webTime, Control: o.Web.control}
	transport := &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{RootCAs: o.Web.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: webTime, MaxResponseHeaderBytes: maxHeader, DisableKeepAlives: true, DisableCompression: true,
	}
	return sender{
		web: &http.Client{
			Transport: transport, Timeout: webTime,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		smtp: o.Mail, from: o.Server,
	}, nil
}

// errInside: the receiver is at an address that is not for everybody.
var errInside = errors.New("the address is not a public one; the server's setting notifications.webhooks.allow lists the networks that may be called too")

// control looks at every address right before it is connected to, after names
// were looked up: a name cannot lead inside.
func (w Web) control(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("read address: %w", err)
	}
	if w.allows(at.Addr().Unmap().WithZone("")) {
		return nil
	}
	return errInside
}

func (w Web) allows(ip netip.Addr) bool {
	for _, p := range w.Allow {
		if p.Contains(ip) {
			return true
		}
	}
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return false // also loopback, link-local (metadata services), multicast, unspecified
	}
	for _, p := range special {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}

// special are networks that look public and are not, or that hold another address
// in theirs (the registries of RFC 6890).
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
}

// post is one call of a webhook.
type post struct {
	url, format, key string
	now              time.Time
}

// post sends a digest to a webhook.
func (s sender) post(ctx context.Context, p post, d Digest) outcome {
	body, err := p.body(d)
	if err != nil {
		return outcome{answer: "make the message: " + err.Error(), err: true, never: true}
	}
	if len(body) > maxPost {
		return outcome{answer: "the message is too large", err: true, never: true}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return outcome{answer: describe("make the request", err), err: true}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "goldkeep")
	req.Header.Set("Idempotency-Key", d.ID)
	if p.key != "" {
		req.Header.Set("Goldkeep-Signature", Signature(p.key, p.now, body))
	}
	resp, err := s.web.Do(req)
	if err != nil {
		return outcome{answer: describe("call the webhook", err), err: true}
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // what came is enough
	return answered(resp, string(text), p.now)
}

func (p post) body(d Digest) ([]byte, error) {
	if p.format == "slack" {
		return slack(d)
	}
	return json.Marshal(d)
}

// Signature is the header that says who sent a body: the time and the HMAC-SHA-256
// of "TIME.BODY". Receivers refuse what is older than some minutes.
func Signature(key string, now time.Time, body []byte) string {
	at := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(at + "."))
	mac.Write(body)
	return "t=" + at + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

// answered says what an HTTP answer means.
func answered(resp *http.Response, text string, now time.Time) outcome {
	out := outcome{answer: strconv.Itoa(resp.StatusCode) + " " + plain(text, 200)}
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		return out
	case code >= 300 && code < 400:
		out.answer = strconv.Itoa(code) + " a redirect, which is not followed: give the url it leads to"
	case code == http.StatusBadRequest, code == http.StatusGone, code == http.StatusRequestEntityTooLarge, code == http.StatusUnprocessableEntity:
		out.never = true // the same would be said to the same again
	}
	out.err, out.after = true, retryAfter(resp.Header.Get("Retry-After"), now)
	return out
}

// retryAfter reads RFC 9110's Retry-After, seconds or a date, of at most an hour.
func retryAfter(text string, now time.Time) time.Duration {
	var wait time.Duration
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), longest)
}

// withoutURL drops the URL from an error: it may be a secret.
func withoutURL(err error) error {
	var at *url.Error
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
