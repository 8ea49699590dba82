// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// cosign looks for bundles in a layout only where an entry has this annotation.
const (
	cosignKind  = "kind"
	cosignImage = "dev.cosignproject.cosign/image"
)

func layoutShelf(ctx context.Context, dir string) (*Shelf, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.New(fault.NotFound, "open image folder: %w", err)
	}
	at := &layout{root}
	all, err := at.subjects(ctx)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &Shelf{Subjects: all, at: at, close: root.Close}, nil
}

// subjects finds the one image, or index, in the folder.
func (l *layout) subjects(ctx context.Context) ([]Subject, error) {
	index, err := l.index()
	if err != nil {
		return nil, err
	}
	var doc manifestFile
	if err := decodeDocument("index", index, &doc); err != nil {
		return nil, err
	}
	var roots []Subject
	var data []byte
	for _, d := range doc.Manifests {
		if isAttestation(d) {
			continue
		}
		digest, err := ParseDigest(d.Digest)
		if err != nil {
			return nil, fmt.Errorf("read image index: %w", err)
		}
		body, err := (&loader{from: l, lim: Limits{}.WithDefaults()}).document(ctx, digest, l.manifest)
		if err != nil {
			return nil, err
		}
		var inner manifestFile
		if decodeDocument("manifest", body, &inner) == nil && inner.Subject != nil {
			continue // attached to something
		}
		data = body
		roots = append(roots, Subject{Digest: digest, MediaType: mediaTypeOf(d.MediaType, body), Size: int64(len(body))})
	}
	if len(roots) != 1 {
		return nil, fault.New(fault.Invalid, "open image folder: it holds %d images", len(roots)).WithHint("copy one image into one folder")
	}
	return subjects(ctx, l, roots[0], data, 0)
}

// isFallback knows the list of referrers that a tool has copied into a layout.
func isFallback(d descriptor) bool {
	hex, tagged := strings.CutPrefix(d.Annotations[refName], "sha256-")
	_, err := ParseDigest(digestPrefix + hex)
	return tagged && err == nil
}

// attach writes the blobs, then names the referrer in index.json.
func (l *layout) attach(_ context.Context, what *sealedReferrer) error {
	return l.alone(func() error {
		for _, blob := range [][]byte{what.body, emptyConfig, what.manifest} {
			if err := l.write(blobName(DigestOf(blob)), blob); err != nil {
				return err
			}
		}
		return l.change(func(entries []json.RawMessage) ([]json.RawMessage, error) {
			for i, e := range entries {
				d, err := entryOf(e)
				if err != nil {
					return nil, err
				}
				if d.Digest == string(what.digest) {
					return entries, nil
				}
				if d.Digest == string(what.subject.Digest) && d.Annotations[cosignKind] == "" {
					if entries[i], err = annotated(e, cosignKind, cosignImage); err != nil {
						return nil, err
					}
				}
			}
			added, err := json.Marshal(what.entry())
			return append(entries, added), err
		})
	})
}

// detach takes the referrer out of index.json and removes its manifest, so that
// tools which look at all blobs do not find it either.
func (l *layout) detach(_ context.Context, _, referrer Digest) error {
	return l.alone(func() error {
		if err := l.change(less(referrer)); err != nil {
			return err
		}
		if err := l.root.Remove(filepath.FromSlash(blobName(referrer))); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.Invalid, "remove from image folder: %w", err)
		}
		return nil
	})
}

// alone keeps others who write here waiting until do has returned: index.json is
// read, changed and written.
func (l *layout) alone(do func() error) error {
	folder, err := l.root.Open(".")
	if err == nil {
		defer func() { _ = folder.Close() }() // gives the lock back
		err = syscall.Flock(int(folder.Fd()), syscall.LOCK_EX)
	}
	if err != nil {
		return fault.New(fault.Unavailable, "lock image folder: %w", err)
	}
	return do()
}

func entryOf(raw json.RawMessage) (descriptor, error) {
	var d descriptor
	err := decodeDocument("index", raw, &d)
	return d, err
}

// annotated is an entry with one annotation more; all else stays as it was.
func annotated(raw json.RawMessage, key, value string) (json.RawMessage, error) {
	var entry map[string]json.RawMessage
	about := map[string]string{}
	err := json.Unmarshal(raw, &entry)
	if err == nil && entry["annotations"] != nil {
		err = json.Unmarshal(entry["annotations"], &about)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, "read image index: an entry is not understood")
	}
	about[key] = value
	if entry["annotations"], err = json.Marshal(about); err != nil {
		return nil, err
	}
	return json.Marshal(entry)
}

// change rewrites the entries of index.json.
func (l *layout) change(edit func([]json.RawMessage) ([]json.RawMessage, error)) error {
	data, err := l.index()
	if err == nil {
		data, err = edited(data, edit)
	}
	if err != nil {
		return err
	}
	return l.write("index.json", data)
}

// edited is an index with other entries; all else in it stays as it was.
func edited(index []byte, edit func([]json.RawMessage) ([]json.RawMessage, error)) ([]byte, error) {
	var doc map[string]json.RawMessage
	var entries []json.RawMessage
	if err := decodeDocument("index", index, &doc); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(doc["manifests"], &entries); err != nil {
		return nil, fault.New(fault.Invalid, "read image index: its manifests are no list")
	}
	entries, err := edit(entries)
	if err == nil {
		doc["manifests"], err = json.Marshal(entries)
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(doc)
}

// less leaves one entry out.
func less(gone Digest) func([]json.RawMessage) ([]json.RawMessage, error) {
	return func(entries []json.RawMessage) ([]json.RawMessage, error) {
		return slices.DeleteFunc(entries, func(e json.RawMessage) bool {
			d, err := entryOf(e)
			return err == nil && d.Digest == string(gone)
		}), nil
	}
}

// write makes a file appear whole or not at all.
func (l *layout) write(name string, data []byte) error {
	name = filepath.FromSlash(name)
	if held, err := l.root.ReadFile(name); err == nil && DigestOf(held) == DigestOf(data) {
		return nil
	}
	made := name + ".new"
	err := l.root.WriteFile(made, data, 0o644)
	if err == nil {
		err = l.root.Rename(made, name)
	}
	if err != nil {
		return fault.New(fault.Invalid, "write to image folder: %w", err)
	}
	return nil
}
