// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/gate"
	"github.com/goldkeep/goldkeep/internal/identity"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/manifest"
	"github.com/goldkeep/goldkeep/internal/notify"
	"github.com/goldkeep/goldkeep/internal/policy"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Notifications are the settings of what owners are told.
type Notifications struct {
	SMTP     SMTP     `yaml:"smtp"`
	Webhooks Webhooks `yaml:"webhooks"`
	// Quiet is how long nothing may happen before what happened is told, as one
	// digest. Default 30s, at most 5m.
	Quiet manifest.Duration `yaml:"quiet"`
	// IgnoreContacts: owners without a Notification are not told by the contact of
	// their golden images and workloads.
	IgnoreContacts bool `yaml:"ignoreContacts"`
}

// SMTP is the server mail goes through. The password may also be given as
// GOLDKEEP_SMTP_PASSWORD.
type SMTP struct {
	Host         string `yaml:"host"`
	Port         int    `yaml:"port"` // default 587; 465 with tls: implicit
	TLS          string `yaml:"tls"`  // starttls (default), implicit, insecure-none
	From         string `yaml:"from"`
	User         string `yaml:"user"`
	PasswordFile string `yaml:"passwordFile"`
	CA           string `yaml:"ca"` // PEM file; default: the machine's
}

// Webhooks are the settings of calls to others.
type Webhooks struct {
	// Allow lists networks (10.0.0.0/8) webhooks may be in beside the public internet.
	Allow []string `yaml:"allow"`
	CA    string   `yaml:"ca"` // PEM file; default: the machine's
}

// openNotify opens what tells owners.
func (s *Server) openNotify(ctx context.Context) error {
	o, err := s.config.Notifications.options()
	if err != nil {
		return err
	}
	o.Store, o.Keys, o.Catalog, o.Workloads = s.store, s.barrier, goldens{s.catalog}, s.workloads
	o.Origins = s.origins
	o.Secret, o.Sealed, o.Record, o.Server, o.Log = s.notifySecret, s.barrier.Sealed, s.recordDelivery, s.config.Node, s.log
	if s.notify, err = notify.New(ctx, o); err != nil {
		return err
	}
	s.catalog.OnKeep = s.notify.Judged
	s.catalog.OnMove = func(ctx context.Context, tx store.Tx, m catalog.Move) error {
		return s.notify.Moved(ctx, tx, notify.Move(m))
	}
	return nil
}

// goldens is the catalog as package notify wants it.
type goldens struct{ *catalog.Catalog }

func (g goldens) Goldens(ctx context.Context) ([]notify.Golden, error) {
	all, err := g.Catalog.Goldens(ctx)
	out := make([]notify.Golden, len(all))
	for i, golden := range all {
		out[i] = notify.Golden{Name: golden.Name, Owner: golden.Owner, Contact: golden.Contact}
	}
	return out, err
}

func (g goldens) BuiltOn(ctx context.Context, base image.Digest) ([]notify.Standing, error) {
	found, err := g.Catalog.BuiltOn(ctx, base)
	out := make([]notify.Standing, len(found))
	for i, s := range found {
		out[i] = notify.Standing(s)
	}
	return out, err
}

// origins names the golden images a part of an image comes from.
func (s *Server) origins(ctx context.Context, id image.Digest) ([]string, error) {
	found, err := s.catalog.Origins(ctx, id)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	var names []string
	for _, o := range found {
		names = append(names, o.Golden)
	}
	return names, err
}

// options are the settings as package notify wants them.
func (n Notifications) options() (notify.Options, error) {
	o := notify.Options{
		Mail:       notify.Mail{Host: n.SMTP.Host, Port: n.SMTP.Port, TLS: n.SMTP.TLS, From: n.SMTP.From, User: n.SMTP.User, Password: n.SMTP.password},
		NoContacts: n.IgnoreContacts, Quiet: time.Duration(n.Quiet),
	}
	if err := o.Mail.Check(); err != nil {
		return o, err
	}
	if o.Quiet > maxQuiet {
		return o, fault.New(fault.Invalid, "notifications.quiet must be at most %s", maxQuiet)
	}
	var err error
	if o.Mail.Roots, err = roots(n.SMTP.CA); err != nil {
		return o, err
	}
	if o.Web.Roots, err = roots(n.Webhooks.CA); err != nil {
		return o, err
	}
	for _, text := range n.Webhooks.Allow {
		network, err := netip.ParsePrefix(text)
		if err != nil {
			return o, fault.New(fault.Invalid, "notifications.webhooks.allow: %.80q is no network; write it like 10.0.0.0/8", text)
		}
		o.Web.Allow = append(o.Web.Allow, network.Masked())
	}
	return o, nil
}

// maxQuiet bounds how long news may be held back.
const maxQuiet = 5 * time.Minute

// maxPassword bounds a password file in bytes.
const maxPassword = 4096

func (c SMTP) password() (string, error) {
	if c.PasswordFile == "" {
		return os.Getenv("GOLDKEEP_SMTP_PASSWORD"), nil
	}
	text, err := readBounded(c.PasswordFile, maxPassword)
	if err != nil {
		return "", fault.New(fault.Unavailable, "read notifications.smtp.passwordFile: %w", err)
	}
	return string(bytes.TrimRight(text, "\r\n")), nil
}

// readBounded reads a file of at most most bytes.
func readBounded(path string, most int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(text)) > most {
		err = fault.New(fault.TooLarge, "%s is over %d bytes", path, most)
	}
	return text, err
}

// roots reads certificates to trust; none: the machine's.
func roots(path string) (*x509.CertPool, error) {
	if path == "" {
		return nil, nil
	}
	text, err := readBounded(path, maxConfig)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read notifications' ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fault.New(fault.Invalid, "%s holds no certificate in PEM", path)
	}
	return pool, nil
}

// notifySecret reads a field of a secret a Notification names. Only engines of
// the kind kv are asked: nothing else of the server is within reach.
func (s *Server) notifySecret(ctx context.Context, ref notify.SecretRef) (string, error) {
	slot, rest, err := s.mounts.Resolve(ctx, ref.Mount+"/data/"+ref.KV)
	if err != nil {
		return "", err
	}
	if slot == nil || slot.Mount.Kind != "kv" {
		return "", fault.New(fault.NotFound, "there is no KV engine at the mount the notification names")
	}
	resp, err := slot.Engine.Handle(ctx, &engine.Request{Op: policy.Read, Mount: slot.Mount.Path, Path: rest, Now: s.store.Now()})
	if err != nil {
		return "", err
	}
	if resp == nil || resp.Data == nil {
		return "", fault.New(fault.NotFound, "there is no secret at the path the notification names")
	}
	text, err := json.Marshal(resp.Data)
	if err != nil {
		return "", fmt.Errorf("encode secret: %w", err)
	}
	var secret struct {
		Data map[string]any `json:"data"`
	}
	if err := json.Unmarshal(text, &secret); err != nil {
		return "", fmt.Errorf("decode secret: %w", err)
	}
	value, _ := secret.Data[ref.Field].(string)
	return value, nil
}

// changed records what happened to an instance, and has its owner told.
func (s *Server) changed(ctx context.Context, e identity.Event) error {
	if err := s.record(ctx, e); err != nil {
		return err
	}
	in := e.Instance
	return s.notify.Changed(ctx, notify.Instance{
		ID: in.ID, Workload: in.Workload, Environment: in.Environment, Owner: in.Owner, Node: in.Node,
		Image: in.Image, State: string(in.State), Until: in.Until,
	}, e.Reason)
}

// feedFailed has everybody told who wants to know of failing feeds.
func (s *Server) feedFailed(ctx context.Context, tx store.Tx, feed, why string) error {
	if feed == advisory.Place {
		feed = "all of them"
	}
	return s.notify.FeedFailed(ctx, tx, feed, why)
}

// recordDelivery writes to the audit log that somebody was told, or could not be.
func (s *Server) recordDelivery(ctx context.Context, d notify.Delivery) error {
	return s.gate.Record(ctx, gate.Event{
		Name: "notification." + string(d.State), Subject: d.ID, Answer: string(d.State), Reason: "news for an owner",
		Detail: map[string]any{"notification": d.Notification, "target": d.Target, "attempts": d.Attempts, "answer": d.Answer, "owners": d.Digest.Owners},
	})
}
