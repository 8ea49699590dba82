// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/identity"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/report"
	"github.com/goldkeep/goldkeep/internal/workload"
)

// fleetOperations answer for all images at once.
func (e *Engine) fleetOperations() []operation {
	return []operation{
		{
			method: "GET", path: "/api/v1/advisories/{name}/affected",
			summary: "List what an advisory hits: images, channels of golden images, workloads, running instances, and who to call",
			do:      e.affected, out: client.Affected{}, query: []string{"after", "limit"}, sealed: true,
		},
		{
			method: "GET", path: "/api/v1/images/{digest}/diff/{other}", summary: "Tell how another image differs from this one",
			do: e.diffImages, out: client.ImageDiff{}, sealed: true,
		},
	}
}

func (e *Engine) affected(ctx context.Context, c *call) (any, error) {
	limit, err := c.number("limit", maxPage)
	if err != nil {
		return nil, err
	}
	name := c.vars["name"]
	hit, err := e.o.Catalog.Affected(ctx, name, image.Digest(c.param("after")), min(limit, maxPage))
	if err != nil {
		return nil, err
	}
	if len(hit.Flaws) == 0 { // a name nobody knows must not look like one that hits nothing
		if _, err := e.o.Advisories.Get(ctx, name); err != nil {
			return nil, err
		}
	}
	out := client.Affected{
		Name: name, Total: hit.Total, Flaws: []client.AffectedFlaw{}, Images: []client.AffectedImage{},
		Channels: []client.AffectedChannel{}, Workloads: []client.AffectedWorkload{},
	}
	for _, f := range hit.Flaws {
		out.Flaws = append(out.Flaws, client.AffectedFlaw{ID: f.ID, Aliases: f.Aliases, Ecosystem: f.Ecosystem, Package: f.Package, Versions: f.Versions})
	}
	for _, img := range hit.Images {
		out.Images = append(out.Images, client.AffectedImage{ID: string(img.ID), Name: img.Name})
	}
	for _, s := range hit.Channels {
		out.Channels = append(out.Channels, client.AffectedChannel{Golden: s.Golden, Channel: s.Channel, Image: string(s.Image), Owner: s.Owner, Contact: s.Contact})
	}
	if out.Workloads, err = e.affectedWorkloads(ctx, hit.Channels); err != nil {
		return nil, err
	}
	running, err := e.o.Identity.On(ctx, hit.Watched)
	if err != nil {
		return nil, err
	}
	// Instances are shown as identity writes them, as in their own list.
	return struct {
		client.Affected
		Instances []identity.Instance `json:"instances"`
	}{out, running}, nil
}

// affectedWorkloads are those that run what stands in some channels.
func (e *Engine) affectedWorkloads(ctx context.Context, channels []catalog.Standing) ([]client.AffectedWorkload, error) {
	var lines []workload.Image
	for _, s := range channels {
		lines = append(lines, workload.Image{Golden: s.Golden, Channel: s.Channel})
	}
	found, err := e.o.Workloads.RunFrom(ctx, lines)
	all := []client.AffectedWorkload{}
	for _, w := range found {
		all = append(all, client.AffectedWorkload{Name: w.Name, Environment: w.Environment, Owner: w.Owner, Contact: w.Contact})
	}
	return all, err
}

func (e *Engine) diffImages(ctx context.Context, c *call) (any, error) {
	digest, err := c.digest()
	if err != nil {
		return nil, err
	}
	other, err := image.ParseDigest(c.vars["other"])
	if err != nil {
		return nil, fault.New(fault.Invalid, "the other image: %v", err)
	}
	from, err := e.known(ctx, digest)
	if err != nil {
		return nil, err
	}
	to, err := e.known(ctx, other)
	if err != nil {
		return nil, err
	}
	return report.Diff(*from.Evidence, *to.Evidence), nil
}

// known finds an image there is evidence on.
func (e *Engine) known(ctx context.Context, digest image.Digest) (*catalog.Image, error) {
	img, err := e.o.Catalog.Find(ctx, digest)
	if err == nil && img.Evidence == nil {
		err = fault.New(fault.NotFound, "nothing is known of image %s yet", digest).WithHint("bring it with: goldkeep image add IMAGE")
	}
	return img, err
}
