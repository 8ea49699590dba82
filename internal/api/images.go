// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

// maxPage bounds the images of one list.
const maxPage = 1000

func (e *Engine) listImages(ctx context.Context, c *call) (any, error) {
	limit, err := c.number("limit", maxPage)
	if err != nil {
		return nil, err
	}
	found, err := e.o.Catalog.Images(ctx, image.Digest(c.param("after")), min(limit, maxPage))
	if err != nil {
		return nil, err
	}
	all := make([]client.Image, len(found))
	for i := range found {
		all[i] = wireImage(&found[i])
	}
	return items[client.Image]{all}, nil
}

func (c *call) number(name string, fallback int) (int, error) {
	text := c.param(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, fault.New(fault.Invalid, "%s must be a whole number", name)
	}
	return n, nil
}

func (e *Engine) showImage(ctx context.Context, c *call) (any, error) {
	digest, err := c.digest()
	if err != nil {
		return nil, err
	}
	img, err := e.o.Catalog.Find(ctx, digest)
	if err != nil {
		return nil, err
	}
	return e.describe(ctx, img)
}

// describe is an image with its evidence and verdicts.
func (e *Engine) describe(ctx context.Context, img *catalog.Image) (any, error) {
	out := wireImage(img)
	verdicts, err := e.verdicts(ctx, img)
	if err != nil {
		return nil, err
	}
	if img.Evidence != nil {
		if img.Evidence.Signatures, err = e.o.Catalog.Signatures(ctx, img.ID); err != nil {
			return nil, err
		}
		if out.Evidence, err = json.Marshal(img.Evidence); err != nil {
			return nil, fmt.Errorf("encode evidence: %w", err)
		}
	}
	return struct {
		client.Image
		Verdicts []verdict.Verdict `json:"verdicts"`
	}{out, verdicts}, nil
}

// verdicts judges an image in every environment.
func (e *Engine) verdicts(ctx context.Context, img *catalog.Image) ([]verdict.Verdict, error) {
	all := []verdict.Verdict{}
	if img.Evidence == nil {
		return all, nil
	}
	envs, err := e.o.Catalog.Environments(ctx)
	if err != nil {
		return nil, err
	}
	for _, env := range envs {
		v, err := e.o.Catalog.Judge(ctx, img, env, e.o.Catalog.Now())
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

func wireImage(img *catalog.Image) client.Image {
	out := client.Image{
		ID: string(img.ID), Name: img.Name, Kind: img.Kind, State: string(img.State), Error: img.Error,
		FirstSeen: img.FirstSeen, Scanned: img.Scanned,
	}
	for _, d := range img.Digests {
		out.Digests = append(out.Digests, string(d))
	}
	return out
}

// addImage takes an upload. It goes to a temporary file first: an archive is
// read from its end and by offset, and nothing of it is believed unchecked.
func (e *Engine) addImage(ctx context.Context, c *call) (any, error) {
	if c.Body == nil {
		return nil, fault.New(fault.Invalid, "the body must be an image archive, an executable or a bill of materials")
	}
	file, size, err := e.spool(ctx, c.Body)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	if bill, err := isBill(file); err != nil || bill {
		if err != nil {
			return nil, err
		}
		return e.addBill(ctx, c, file)
	}
	done, err := e.turn(ctx, e.scans)
	if err != nil {
		return nil, err
	}
	defer done()
	img, err := image.OpenArchive(ctx, file, size, c.param("name"), image.Options{Limits: e.o.Limits, Known: e.holds(ctx)})
	if err != nil {
		return nil, err
	}
	return e.learn(ctx, img, false)
}

// turn waits for a place among those at work.
func (e *Engine) turn(ctx context.Context, places chan struct{}) (done func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// spool writes an upload to a file that has no name and is gone when closed.
func (e *Engine) spool(ctx context.Context, body io.Reader) (*os.File, int64, error) {
	done, err := e.turn(ctx, e.uploads)
	if err != nil {
		return nil, 0, err
	}
	defer done()
	file, err := os.CreateTemp(e.o.TempDir, "upload-*")
	if err != nil {
		return nil, 0, fault.New(fault.Unavailable, "make temporary file: %w", err)
	}
	err = os.Remove(file.Name())
	var size int64
	if err == nil {
		size, err = io.Copy(file, io.LimitReader(body, e.o.MaxUpload+1))
	}
	switch {
	case err != nil:
		err = fault.New(fault.Unavailable, "take upload: %w", err)
	case size > e.o.MaxUpload:
		err = fault.New(fault.TooLarge, "the upload is over %d bytes", e.o.MaxUpload)
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, size, nil
}

type pullRequest struct {
	Reference string `json:"reference"`
}

func (e *Engine) pullImage(ctx context.Context, c *call) (any, error) {
	in, err := decode[pullRequest](c)
	if err != nil {
		return nil, err
	}
	return e.pull(ctx, in.Reference)
}

// pull fetches an image from a registry and scans it.
func (e *Engine) pull(ctx context.Context, reference string) (any, error) {
	done, err := e.turn(ctx, e.scans)
	if err != nil {
		return nil, err
	}
	defer done()
	img, err := image.Open(ctx, "registry:"+reference, image.Options{Limits: e.o.Limits})
	if err != nil {
		return nil, err
	}
	img.Name = reference
	return e.learn(ctx, img, true)
}

// ours reports whether an image could not be scanned through no fault of its own:
// then it may be brought again.
func ours(err error) bool {
	kind := fault.KindOf(err)
	return kind == fault.Unavailable || kind == fault.Sealed
}

// learn scans an image, keeps what is known of it and what is attached to it, and has
// what waits for it judged. whole says that all that is attached lies where it was read.
func (e *Engine) learn(ctx context.Context, img *image.Image, whole bool) (any, error) {
	defer func() { _ = img.Close() }()
	ev, err := e.o.Scan(ctx, img)
	if err != nil && !ours(err) {
		if kept := e.o.Catalog.Fail(ctx, img.ID, img.Name, fault.Public(err)); kept != nil {
			return nil, errors.Join(err, kept)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := e.o.Catalog.Learn(ctx, img, ev); err != nil {
		return nil, err
	}
	if err := e.keepAttached(ctx, img, whole); err != nil {
		return nil, err
	}
	if err := e.o.Identity.Reconcile(ctx, []image.Digest{img.ID}); err != nil {
		return nil, err
	}
	found, err := e.o.Catalog.Find(ctx, img.ID)
	if err != nil {
		return nil, err
	}
	return e.describe(ctx, found)
}
