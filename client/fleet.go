// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"fmt"
	"net/url"
)

// Affected is what an advisory hits, found in an index: no image is looked at.
// Findings a distribution does not count are not in it; triage is not looked at. All
// lists but Images are filled on the first page only.
type Affected struct {
	Name      string             `json:"name"`
	Flaws     []AffectedFlaw     `json:"flaws"`  // none: nothing the server knows is hit
	Total     int                `json:"total"`  // images
	Images    []AffectedImage    `json:"images"` // a page of them, in the order they were first seen
	Channels  []AffectedChannel  `json:"channels"`
	Workloads []AffectedWorkload `json:"workloads"`
	Instances []Instance         `json:"instances"` // running ones
}

// AffectedFlaw is the flaw as it is found in one package.
type AffectedFlaw struct {
	ID        string   `json:"id"`
	Aliases   []string `json:"aliases,omitempty"`
	Ecosystem string   `json:"ecosystem"`
	Package   string   `json:"package"`
	Versions  []string `json:"versions"`
}

// AffectedImage is an image that is hit.
type AffectedImage struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// AffectedChannel is a channel of a golden image with an image that is hit.
type AffectedChannel struct {
	Golden  string `json:"golden"`
	Channel string `json:"channel"`
	Image   string `json:"image"`
	Owner   string `json:"owner"`
	Contact string `json:"contact,omitempty"`
}

// AffectedWorkload is a workload that runs what stands in such a channel.
type AffectedWorkload struct {
	Name        string `json:"name"`
	Environment string `json:"environment"`
	Owner       string `json:"owner"`
	Contact     string `json:"contact,omitempty"`
}

// Affected tells what an advisory hits, by its id or another name of the flaw: with
// all images, page by page.
func (c *Client) Affected(ctx context.Context, name string) (*Affected, error) {
	var whole *Affected
	after := ""
	for {
		part, err := one[Affected](ctx, c, fmt.Sprintf("/api/v1/advisories/%s/affected?limit=%d&after=%s", url.PathEscape(name), page, url.QueryEscape(after)))
		if err != nil {
			return nil, err
		}
		if whole == nil {
			whole = part
		} else {
			whole.Images = append(whole.Images, part.Images...)
		}
		if len(part.Images) < page {
			return whole, nil
		}
		after = whole.Images[len(whole.Images)-1].ID
	}
}

// ImageDiff tells how one image differs from another.
type ImageDiff struct {
	From      string        `json:"from"` // ID
	To        string        `json:"to"`
	Packages  []PackageDiff `json:"packages"`
	Gone      []string      `json:"gone"` // findings that count
	New       []string      `json:"new"`
	FactsGone []string      `json:"factsGone"`
	FactsNew  []string      `json:"factsNew"`
	Settings  []SettingDiff `json:"settings"`
}

// PackageDiff is a package that came, went, or changed its version.
type PackageDiff struct {
	Ecosystem string `json:"ecosystem"`
	Name      string `json:"name"`
	From      string `json:"from"` // "": it came
	To        string `json:"to"`   // "": it went
	Layer     int    `json:"layer"`
}

// SettingDiff is a setting or label that differs.
type SettingDiff struct {
	Name string `json:"name"`
	From string `json:"from"`
	To   string `json:"to"`
}

// DiffImages tells how image b differs from image a, each by any of its digests.
func (c *Client) DiffImages(ctx context.Context, a, b string) (*ImageDiff, error) {
	return one[ImageDiff](ctx, c, "/api/v1/images/"+url.PathEscape(a)+"/diff/"+url.PathEscape(b))
}
