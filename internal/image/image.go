// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package image turns a reference into a digest and its layers: from a registry,
// an OCI layout folder, an OCI or docker-save archive, the local podman or docker
// store, or a plain executable file (an artifact: an image of one file).
//
// Everything it reads is hostile until proven: digests are checked while
// streaming, sizes and entry counts are limited, nothing is unpacked to disk.
package image

import (
	"context"
	"errors"
	"io"
	"time"
)

// Digest is "sha256:" and 64 lower-case hex digits.
type Digest string

// Image is one image for one platform, opened for reading.
type Image struct {
	Name        string            // what the user called it; never a key
	ID          Digest            // config digest (artifact: SHA-256 of the file): the key of everything known about it
	ChainID     Digest            // of the root filesystem (OCI image-spec, config.md, "Layer ChainID")
	Manifests   []Digest          // every manifest (and index) digest it was seen under
	Platform    string            // "linux/amd64"
	Created     time.Time         // zero: not stated
	Config      Config            // what the config says
	Labels      map[string]string // of the config
	Annotations map[string]string // of the manifest
	Layers      []Layer           // lowest first
	Warnings    []string          // what was odd: "two members are named "index.json": the last was used", ...
	Kind        Kind

	from    source      // where it was read from; nil: a place without blobs
	written written     // its documents, where it came from OCI ones
	closers []io.Closer // what Close gives back
}

// Close gives back the files behind the image. Layers cannot be opened after it.
func (i *Image) Close() error {
	var errs []error
	for _, c := range i.closers {
		errs = append(errs, c.Close())
	}
	i.closers = nil
	return errors.Join(errs...)
}

// Kind tells an image from a plain executable.
type Kind string

// The kinds of image.
const (
	KindImage    Kind = "image"
	KindArtifact Kind = "artifact" // a single executable file
)

// Config is the part of an image's configuration Goldkeep looks at.
type Config struct {
	User       string    `json:"user"`
	Env        []string  `json:"env"`
	Entrypoint []string  `json:"entrypoint"`
	Cmd        []string  `json:"cmd"`
	WorkingDir string    `json:"workingDir"`
	Ports      []string  `json:"ports"`
	Volumes    []string  `json:"volumes"`
	History    []History `json:"history"`
}

// History is one build step.
type History struct {
	CreatedBy  string    `json:"createdBy"`
	Comment    string    `json:"comment"`
	Created    time.Time `json:"created"`
	EmptyLayer bool      `json:"emptyLayer"`
}

// Layer is one layer, read as a stream.
type Layer struct {
	DiffID    Digest                                           // of the uncompressed tar; verified when the stream is read to its end
	Digest    Digest                                           // of the blob as stored
	Size      int64                                            // of the blob, bytes
	CreatedBy string                                           // the build step that made it, where the history tells
	Open      func(ctx context.Context) (io.ReadCloser, error) // the uncompressed tar; ends in an error where a digest, size or limit does not hold
}

// Limits bound what one image may cost. The zero value of a field means its default.
type Limits struct {
	LayerBytes  int64 // uncompressed bytes of one layer; default 16 GiB
	Ratio       int64 // uncompressed / compressed size of one layer, looked at above 64 MiB; default 200
	Entries     int   // tar entries of one layer; default 300,000
	FileBytes   int64 // one file that must be read whole; default 256 MiB (larger executables are streamed to a bounded temporary file)
	ConfigBytes int64 // config, manifest or index; default 4 MiB
	Layers      int   // default 256

	ArchiveBytes int64 // an archive that has to be copied to a temporary file (compressed, or sent by an engine); default 32 GiB
}
