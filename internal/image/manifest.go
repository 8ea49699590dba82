// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// descriptor, manifestFile, indexFile and configFile are the parts of the OCI
// image-spec 1.1 (and Docker's schema 2) documents that Goldkeep looks at.
type descriptor struct {
	MediaType    string            `json:"mediaType"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	URLs         []string          `json:"urls"`
	Annotations  map[string]string `json:"annotations"`
	ArtifactType string            `json:"artifactType"`
	Platform     *platform         `json:"platform"`
}

type platform struct {
	OS           string `json:"os"`
	Architecture string `json:"architecture"`
	Variant      string `json:"variant"`
}

type manifestFile struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	Config        *descriptor       `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Manifests     []descriptor      `json:"manifests"` // of an index
	Subject       *descriptor       `json:"subject"`   // what it is attached to
	Annotations   map[string]string `json:"annotations"`

	raw []byte // the document itself
}

type configFile struct {
	OS           string     `json:"os"`
	Architecture string     `json:"architecture"`
	Variant      string     `json:"variant"`
	Created      *time.Time `json:"created"`
	Config       struct {
		User         string              `json:"User"`
		Env          []string            `json:"Env"`
		Entrypoint   []string            `json:"Entrypoint"`
		Cmd          []string            `json:"Cmd"`
		WorkingDir   string              `json:"WorkingDir"`
		ExposedPorts map[string]struct{} `json:"ExposedPorts"`
		Volumes      map[string]struct{} `json:"Volumes"`
		Labels       map[string]string   `json:"Labels"`
	} `json:"config"`
	RootFS struct {
		DiffIDs []string `json:"diff_ids"`
	} `json:"rootfs"`
	History []struct {
		CreatedBy  string     `json:"created_by"`
		Comment    string     `json:"comment"`
		Created    *time.Time `json:"created"`
		EmptyLayer bool       `json:"empty_layer"`
	} `json:"history"`
}

// String is "linux/amd64" or "linux/arm/v7"; arm64's only variant is left out.
func (p platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" && p.Architecture != "arm64" {
		s += "/" + p.Variant
	}
	return s
}

// matches reports whether p serves the wanted "os/arch[/variant]".
func (p platform) matches(want string) bool {
	os, rest, _ := strings.Cut(want, "/")
	arch, variant, _ := strings.Cut(rest, "/")
	return p.OS == os && p.Architecture == arch && (variant == "" || variant == p.Variant || p.Architecture == "arm64")
}

// decodeDocument reads one JSON document into v.
func decodeDocument(what string, data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(v); err != nil {
		return fault.New(fault.Invalid, "read image %s: %s", what, whatIsWrong(err))
	}
	if _, err := dec.Token(); err != io.EOF {
		return fault.New(fault.Invalid, "read image %s: there is text after the document", what)
	}
	return nil
}

// whatIsWrong tells of an error of encoding/json without the names of Go's types.
func whatIsWrong(err error) string {
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Sprintf("a %s stands at %q, which must be something else", kind.Value, kind.Field)
	case errors.As(err, &kind):
		return "it is a JSON " + kind.Value + ", not an object"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "it is no JSON document, or cut short"
	}
	return "it is no JSON document: " + err.Error()
}

// readConfig fills img from the bytes of an image configuration and returns the
// layers' DiffIDs.
func readConfig(img *Image, data []byte, lim Limits) ([]Digest, error) {
	var c configFile
	if err := decodeDocument("config", data, &c); err != nil {
		return nil, err
	}
	if len(c.RootFS.DiffIDs) > lim.Layers {
		return nil, fault.New(fault.TooLarge, "read image config: %d layers; at most %d are allowed", len(c.RootFS.DiffIDs), lim.Layers)
	}
	diffIDs := make([]Digest, len(c.RootFS.DiffIDs))
	for i, s := range c.RootFS.DiffIDs {
		d, err := ParseDigest(s)
		if err != nil {
			return nil, fmt.Errorf("read image config: diff_id %d: %w", i, err)
		}
		diffIDs[i] = d
	}
	img.ID, img.ChainID, img.Kind = DigestOf(data), chainID(diffIDs), KindImage
	img.Platform = platform{c.OS, c.Architecture, c.Variant}.String()
	if c.Created != nil {
		img.Created = c.Created.UTC()
	}
	img.Labels = c.Config.Labels
	img.Config = c.summary()
	return diffIDs, nil
}

func (c configFile) summary() Config {
	out := Config{
		User: c.Config.User, Env: c.Config.Env, Entrypoint: c.Config.Entrypoint, Cmd: c.Config.Cmd,
		WorkingDir: c.Config.WorkingDir, Ports: sortedKeys(c.Config.ExposedPorts), Volumes: sortedKeys(c.Config.Volumes),
	}
	for _, h := range c.History {
		step := History{CreatedBy: h.CreatedBy, Comment: h.Comment, EmptyLayer: h.EmptyLayer}
		if h.Created != nil {
			step.Created = h.Created.UTC()
		}
		out.History = append(out.History, step)
	}
	return out
}

func sortedKeys(m map[string]struct{}) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// buildSteps returns the CreatedBy text of each layer, as far as the history tells.
func buildSteps(history []History, layers int) []string {
	steps := make([]string, layers)
	at := 0
	for _, h := range history {
		if h.EmptyLayer {
			continue
		}
		if at < layers {
			steps[at] = h.CreatedBy
		}
		at++
	}
	if at != layers { // the history is not complete: better nothing than a wrong line
		return make([]string, layers)
	}
	return steps
}

// source is a place that holds blobs by digest.
type source interface {
	// manifest returns a whole manifest or index; the caller checks its digest.
	manifest(ctx context.Context, d Digest, limit int64) ([]byte, error)
	// blob opens a stored blob; the caller checks what it reads.
	blob(ctx context.Context, d Digest) (io.ReadCloser, error)
}
