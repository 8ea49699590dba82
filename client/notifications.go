// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"fmt"
	"net/url"
	"time"
)

// Notification says who is told of what. Where exactly it goes is not shown.
type Notification struct {
	Name         string   `json:"name"`
	Owner        string   `json:"owner"`
	Owners       []string `json:"owners"` // whose news; "*": everybody's
	Environments []string `json:"environments,omitempty"`
	On           []string `json:"on"`
	Target       string   `json:"target"`
}

// Delivery is the record of one digest: when it went, to whom, by what.
type Delivery struct {
	ID           string    `json:"id"`
	Notification string    `json:"notification,omitempty"`
	State        string    `json:"state"` // pending, sent, failed
	Target       string    `json:"target"`
	Attempts     int       `json:"attempts"`
	Answer       string    `json:"answer,omitempty"`
	Created      time.Time `json:"created"`
	Next         time.Time `json:"next,omitzero"`
	Settled      time.Time `json:"settled,omitzero"`
	Digest       *Digest   `json:"digest,omitempty"` // not in lists
}

// Digest is what one recipient is told of one change. It is also the body of a
// webhook of the format json.
type Digest struct {
	Version      int            `json:"version"`
	Kind         string         `json:"kind"` // digest, test
	ID           string         `json:"id"`
	Server       string         `json:"server"`
	Notification string         `json:"notification,omitempty"`
	Owners       []string       `json:"owners"`
	From         time.Time      `json:"from"`
	To           time.Time      `json:"to"`
	Causes       []string       `json:"causes,omitempty"`
	Counts       map[string]int `json:"counts"` // by change: revoked, refused, ...
	Reasons      []DigestText   `json:"reasons,omitempty"`
	Remedies     []DigestText   `json:"remedies,omitempty"`
	Items        []DigestItem   `json:"items"`
	More         int            `json:"more,omitempty"` // things concerned that are not among the items
}

// DigestText is a text and for how many things it holds.
type DigestText struct {
	Text  string `json:"text"`
	Count int    `json:"count"`
}

// DigestItem is an image in an environment, an instance, or a feed that changed.
type DigestItem struct {
	Change      string    `json:"change"`
	Environment string    `json:"environment,omitempty"`
	Image       string    `json:"image,omitempty"`
	ImageName   string    `json:"imageName,omitempty"`
	Golden      []string  `json:"golden,omitempty"`
	Workloads   []string  `json:"workloads,omitempty"`
	Instance    string    `json:"instance,omitempty"`
	Node        string    `json:"node,omitempty"`
	Feed        string    `json:"feed,omitempty"`
	Owners      []string  `json:"owners,omitempty"`
	Contacts    []string  `json:"contacts,omitempty"`
	Reasons     []string  `json:"reasons,omitempty"`
	Remedies    []string  `json:"remedies,omitempty"`
	Until       time.Time `json:"until,omitzero"`
	At          time.Time `json:"at"`
}

// Notifications lists who is told of what.
func (c *Client) Notifications(ctx context.Context) ([]Notification, error) {
	return all[Notification](ctx, c, "/api/v1/notifications")
}

// TestNotification sends a test message, and returns what the receiver said.
func (c *Client) TestNotification(ctx context.Context, name string) (*Delivery, error) {
	return send[Delivery](ctx, c, "POST", "/api/v1/notifications/"+url.PathEscape(name)+"/test", struct{}{})
}

// Deliveries lists up to limit (0: 1000) digests, the newest first; of one state
// unless that is "".
func (c *Client) Deliveries(ctx context.Context, state string, limit int) ([]Delivery, error) {
	return all[Delivery](ctx, c, fmt.Sprintf("/api/v1/deliveries?state=%s&limit=%d", url.QueryEscape(state), limit))
}

// Delivery returns one, with its digest.
func (c *Client) Delivery(ctx context.Context, id string) (*Delivery, error) {
	return one[Delivery](ctx, c, "/api/v1/deliveries/"+url.PathEscape(id))
}
