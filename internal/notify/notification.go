// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"net/mail"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/goldkeep/goldkeep/internal/manifest"
)

// Notification says whom to tell of what.
type Notification struct {
	Name         string   `json:"name"`
	Owner        string   `json:"owner"`
	Contact      string   `json:"contact,omitempty"`
	Protect      bool     `json:"protect,omitempty"`
	Owners       []string `json:"owners"`                 // whose news; "*": everybody's
	Environments []string `json:"environments,omitempty"` // empty: all; what is in none (a base image) counts always
	On           []Change `json:"on"`
	Webhook      *Webhook `json:"webhook,omitempty"`
	Email        *Email   `json:"email,omitempty"`
}

// Webhook is a place digests are posted to. Its URL counts as a secret: those of
// chat services hold one.
type Webhook struct {
	URL     string    `yaml:"url" json:"url,omitempty"`
	URLFrom SecretRef `yaml:"urlFrom" json:"urlFrom,omitzero"`
	Format  string    `yaml:"format" json:"format"` // "json" (default) or "slack"
	// Secret signs each request, so that the receiver knows who sent it.
	Secret SecretRef `yaml:"secret" json:"secret,omitzero"`
	// InsecurePlainHTTP allows a URL of http://: everybody on the way reads what is
	// sent, and can send in our place.
	InsecurePlainHTTP bool `yaml:"insecurePlainHTTP" json:"insecurePlainHTTP,omitempty"`
}

// SecretRef names one field of a secret in a KV engine.
type SecretRef struct {
	KV    string `yaml:"kv" json:"kv,omitempty"`
	Mount string `yaml:"mount" json:"mount,omitempty"` // default "secret"
	Field string `yaml:"field" json:"field,omitempty"`
}

// Email is who gets digests as mail.
type Email struct {
	To []string `yaml:"to" json:"to"`
}

// The limits of one Notification.
const (
	maxOwners     = 200
	maxRecipients = 20
	maxAddress    = 254 // bytes of a mail address, RFC 5321
	maxURL        = 2048
)

type spec struct {
	Owners       []string `yaml:"owners"`
	Environments []string `yaml:"environments"`
	On           []Change `yaml:"on"`
	Webhook      *Webhook `yaml:"webhook"`
	Email        *Email   `yaml:"email"`
}

// Parse reads a document of the kind Notification. Errors name file and line.
func Parse(doc manifest.Document) (*Notification, error) {
	var s spec
	if err := doc.Decode(&s); err != nil {
		return nil, err
	}
	n := &Notification{
		Name: doc.Meta.Name, Owner: doc.Meta.Owner, Contact: doc.Meta.Contact, Protect: doc.Meta.Protect,
		Owners: s.Owners, Environments: s.Environments, On: s.On, Webhook: s.Webhook, Email: s.Email,
	}
	var errs manifest.Errors
	n.check(func(msg string, at ...string) { errs = append(errs, doc.Errorf(doc.LineOf(at...), "%s", msg)) })
	return n, errs.Err()
}

// check sets defaults and finds what is wrong.
func (n *Notification) check(fail func(msg string, at ...string)) {
	if len(n.Owners) == 0 {
		n.Owners = []string{n.Owner}
	}
	if len(n.Owners) > maxOwners || len(n.Environments) > maxOwners {
		fail("a notification names at most "+strconv.Itoa(maxOwners)+" owners and environments", "owners")
	}
	for i, change := range n.On {
		if !slices.Contains(changes, change) {
			fail(strconv.Quote(plain(string(change), 40))+" is nothing that happens; on takes "+listed(changes), "on", strconv.Itoa(i))
		}
	}
	if len(n.On) == 0 {
		n.On = slices.DeleteFunc(slices.Clone(changes), func(c Change) bool { return c == FeedFailure })
	}
	switch {
	case (n.Webhook == nil) == (n.Email == nil):
		fail("a notification goes one way: add either webhook: {url: ...} or email: {to: [...]}")
	case n.Webhook != nil:
		n.Webhook.check(fail)
	case len(n.Email.To) == 0 || len(n.Email.To) > maxRecipients:
		fail("email needs to: with 1 to "+strconv.Itoa(maxRecipients)+" addresses", "email", "to")
	default:
		for i, to := range n.Email.To {
			if !isAddress(to) {
				fail("this is no plain mail address; write it like team@example.com", "email", "to", strconv.Itoa(i))
			}
		}
	}
}

func (w *Webhook) check(fail func(msg string, at ...string)) {
	if w.Format == "" {
		w.Format = "json"
	}
	if w.Format != "json" && w.Format != "slack" {
		fail("format must be json or slack", "webhook", "format")
	}
	w.URLFrom.check(func(msg string) { fail(msg, "webhook", "urlFrom") })
	w.Secret.check(func(msg string) { fail(msg, "webhook", "secret") })
	switch {
	case (w.URL == "") == (w.URLFrom.KV == ""):
		fail("a webhook needs either url: or urlFrom: {kv: PATH, field: NAME}", "webhook")
	case w.URL != "":
		if why := badURL(w.URL, w.InsecurePlainHTTP); why != "" {
			fail(why, "webhook", "url")
		}
	}
}

func (r *SecretRef) check(fail func(string)) {
	if *r == (SecretRef{}) {
		return
	}
	if r.Mount == "" {
		r.Mount = "secret"
	}
	if r.KV == "" || r.Field == "" || strings.Contains(r.KV+r.Mount, "..") || len(r.KV)+len(r.Mount)+len(r.Field) > 900 {
		fail("write it like {kv: notify/team, field: key}")
	}
}

// badURL says what is wrong with a webhook's URL, without repeating it; "": nothing.
func badURL(text string, plainHTTP bool) string {
	u, err := url.Parse(text)
	switch {
	case len(text) > maxURL || err != nil || u.Host == "" || u.Opaque != "":
		return "the webhook's url is not one; write it like https://chat.example.com/hooks/..."
	case u.User != nil:
		return "the webhook's url holds a user or password: use secret:, or a path only the receiver knows"
	case u.Scheme == "http" && !plainHTTP:
		return "the webhook's url is plain http: everybody on the way reads what is sent; use https, or say insecurePlainHTTP: true"
	case u.Scheme != "https" && u.Scheme != "http":
		return "the webhook's url must begin with https://"
	}
	return ""
}

// isAddress reports whether text is a plain mail address, and nothing around it.
func isAddress(text string) bool {
	a, err := mail.ParseAddress(text)
	return err == nil && a.Name == "" && a.Address == text && len(text) <= maxAddress && plain(text, maxAddress) == text && isASCII(text) &&
		!strings.ContainsAny(text, " \"(),:;<>[\\]")
}

func isASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r >= 0x7f })
}

func listed(all []Change) string {
	var names []string
	for _, c := range all {
		names = append(names, string(c))
	}
	return strings.Join(names, ", ")
}

// wants reports whether a change of something of an owner is this one's news.
func (n Notification) wants(change Change, owner, environment string) bool {
	if !slices.Contains(n.On, change) {
		return false
	}
	if change == FeedFailure {
		return true // a feed is everybody's
	}
	return n.names(owner) && (environment == "" || len(n.Environments) == 0 || slices.Contains(n.Environments, environment))
}

func (n Notification) names(owner string) bool {
	return slices.Contains(n.Owners, owner) || slices.Contains(n.Owners, "*")
}

// Target is where it goes, as may be shown.
func (n Notification) Target() string {
	if n.Email != nil {
		return "mail to " + strings.Join(n.Email.To, ", ")
	}
	if n.Webhook == nil {
		return ""
	}
	return n.Webhook.Format + " webhook" + atHost(n.Webhook.URL)
}

// atHost is the part of a URL that is no secret.
func atHost(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return ""
	}
	return " at " + plain(u.Host, 100)
}
