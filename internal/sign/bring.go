// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package sign

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
)

// Send sends an image to the server without the layers the server has read before.
// say is told how many go.
func Send(ctx context.Context, c *client.Client, img *image.Image, say func(sent, of int)) error {
	named := func(l image.Layer) client.Layer {
		return client.Layer{DiffID: string(l.DiffID), Digest: string(l.Digest)}
	}
	var layers []client.Layer
	for _, l := range img.Layers {
		layers = append(layers, named(l))
	}
	known, err := c.KnownLayers(ctx, layers)
	if err != nil {
		return err
	}
	say(len(layers)-len(known), len(layers))
	r, w := io.Pipe()
	go func() { // ends with the reader: Close on it makes every write fail
		w.CloseWithError(img.WriteArchive(ctx, w, func(l image.Layer) bool { return slices.Contains(known, named(l)) }))
	}()
	_, err = c.AddImage(ctx, img.Name, r)
	return errors.Join(err, r.Close())
}

// lying is an image where it lies, and the server it is brought to.
type lying struct {
	commands
	client *client.Client
	shelf  *image.Shelf
	ref    string // as the user named it
	open   image.Options
}

// bring has the server read the images of a shelf by the manifests they have there.
// It knows what is in an image it was sent, but not that a manifest which was made
// later, by a push, holds the same.
func (l lying) bring(ctx context.Context) error {
	l.Note("the server has not read %s from where it lies now: bringing it", l.ref)
	for _, subject := range l.shelf.Subjects {
		if config, _, err := image.Contained(subject.Raw); err != nil || config == "" {
			continue // an index: its images are subjects themselves
		}
		if l.shelf.Name != "" && !l.open.Insecure {
			_, err := l.client.PullImage(ctx, l.shelf.Name+"@"+string(subject.Digest))
			if err == nil {
				continue
			}
			if client.KindOf(err) == fault.Denied.String() {
				return err
			}
		}
		if err := l.send(ctx, subject); err != nil {
			return err
		}
	}
	return nil
}

// send is for what the server cannot fetch itself.
func (l lying) send(ctx context.Context, subject image.Subject) error {
	img, err := l.shelf.Open(ctx, subject, l.open)
	if err != nil {
		return err
	}
	if img.Name == "" {
		img.Name = l.ref
	}
	return Send(ctx, l.client, img, func(sent, of int) { l.Note("sending %d of %d layers of %s", sent, of, subject.Digest) })
}
