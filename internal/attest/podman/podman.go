// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package podman asks a podman service, over plain HTTP on its REST socket, which
// container owns a control group and what image it was made from.
//
// The image is always the one in the container's own record, named by its config
// digest. The image's name is never looked up: it may have been moved to another
// image since the container started.
package podman

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/goldkeep/goldkeep/internal/attest"
	"github.com/goldkeep/goldkeep/internal/fault"
)

const (
	answerTime = 10 * time.Second
	maxAnswer  = 16 << 20 // bytes of one JSON answer
	apiBase    = "http://podman/v4.0.0/libpod/"
)

// Runtime is a podman service.
type Runtime struct {
	client *http.Client
	socket string

	mu    sync.Mutex
	paths map[string]string // container id -> control group path; what an id means does not change
}

// New returns the podman service at a unix socket, usually
// /run/podman/podman.sock. It is not contacted yet.
func New(socket string) *Runtime {
	dialer := &net.Dialer{Timeout: answerTime}
	return &Runtime{socket: socket, paths: map[string]string{}, client: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
		ResponseHeaderTimeout: answerTime,
		MaxIdleConns:          4,
		IdleConnTimeout:       time.Minute,
	}}}
}

// Kind is "podman".
func (r *Runtime) Kind() string { return attest.KindPodman }

// record is what we read of a container's own record.
type record struct {
	ID          string `json:"Id"`
	Image       string // config digest, without "sha256:"
	ImageDigest string // manifest digest
	ImageName   string
	State       struct {
		Running    bool
		Paused     bool
		Pid        int
		CgroupPath string
	}
}

// imageRecord is what we read of an image's record.
type imageRecord struct {
	ID          string `json:"Id"`
	Digest      string
	RepoDigests []string
	RootFS      struct{ Layers []string }
}

// Find returns the running container that owns the control group.
func (r *Runtime) Find(ctx context.Context, groups attest.Cgroups) (*attest.Container, error) {
	running, err := r.running(ctx)
	if err != nil {
		return nil, err
	}
	id, err := choose(running, groups)
	if err != nil || id == "" {
		return nil, err
	}
	// The record is read anew: the table above only tells which one.
	var c record
	if err := r.get(ctx, "containers/"+id+"/json", &c); err != nil {
		return nil, err
	}
	if c.ID != id || !c.State.Running || !groups.Within(c.State.CgroupPath) || c.State.Pid <= 0 {
		return nil, fault.New(fault.Refused, "container %.12s changed while it was looked at", id).WithHint("try again")
	}
	return r.describe(ctx, c)
}

// choose returns the id of the container that owns the control group; of nested
// ones the outermost, because what is inside of it is its own affair. A process
// that some hierarchy puts into another container as well is refused.
func choose(running map[string]string, groups attest.Cgroups) (string, error) {
	id := ""
	for candidate, path := range running {
		if groups.Within(path) && (id == "" || len(path) < len(running[id])) {
			id = candidate
		}
	}
	for other, path := range running {
		nested := id != "" && strings.HasPrefix(path, running[id]+"/")
		if other != id && !nested && groups.Touches(path) {
			return "", fault.New(fault.Refused, "the control groups of the process contradict each other: one names container %.12s", other)
		}
	}
	return id, nil
}

// describe adds what the image's record says. It is looked up by config digest.
func (r *Runtime) describe(ctx context.Context, c record) (*attest.Container, error) {
	if !hex64.MatchString(c.Image) {
		return nil, fault.New(fault.Refused, "container %.12s was not made from an image", c.ID).
			WithHint("containers started with --rootfs cannot be attested: build an image")
	}
	var image imageRecord
	if err := r.get(ctx, "images/"+c.Image+"/json", &image); err != nil {
		return nil, err
	}
	if image.ID != c.Image {
		return nil, fault.New(fault.Refused, "podman answered with image %.12s when asked for %.12s", image.ID, c.Image)
	}
	chain, err := chainID(image.RootFS.Layers)
	if err != nil {
		return nil, err
	}
	return &attest.Container{
		Kind: attest.KindPodman, ID: c.ID, Image: "sha256:" + c.Image, ChainID: chain,
		Manifests: manifests(c, image), ImageName: c.ImageName,
		CgroupPath: c.State.CgroupPath, PID: c.State.Pid,
	}, nil
}

// running returns the control group paths of all running containers.
func (r *Runtime) running(ctx context.Context) (map[string]string, error) {
	var list []struct {
		ID string `json:"Id"`
	}
	filters := url.Values{"filters": {`{"status":["running"]}`}}
	if err := r.get(ctx, "containers/json?"+filters.Encode(), &list); err != nil {
		return nil, err
	}
	now := map[string]string{}
	for _, c := range list {
		path, err := r.path(ctx, c.ID)
		if err != nil {
			return nil, err
		}
		if path != "" {
			now[c.ID] = path
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.paths = now
	return now, nil
}

// path returns the control group path of a container, "" where it has none or
// stopped meanwhile.
func (r *Runtime) path(ctx context.Context, id string) (string, error) {
	if !hex64.MatchString(id) {
		return "", fault.New(fault.Unavailable, "podman answered with the container id %q", id)
	}
	r.mu.Lock()
	path, known := r.paths[id]
	r.mu.Unlock()
	if known {
		return path, nil
	}
	var c record
	err := r.get(ctx, "containers/"+id+"/json", &c)
	if fault.Is(err, fault.NotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if !c.State.Running {
		return "", nil
	}
	return c.State.CgroupPath, nil
}

// Export streams an image as a docker archive.
func (r *Runtime) Export(ctx context.Context, image string) (io.ReadCloser, error) {
	id := strings.TrimPrefix(image, "sha256:")
	if !hex64.MatchString(id) {
		return nil, fault.New(fault.Invalid, "export image: %q is no digest", image)
	}
	res, err := r.do(ctx, "images/"+id+"/get?format=docker-archive")
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

func (r *Runtime) get(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	res, err := r.do(ctx, path)
	if err != nil {
		return err
	}
	err = json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(into)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return r.silent(err)
	}
	return nil
}

func (r *Runtime) do(ctx context.Context, path string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, apiBase+path, nil)
	if err != nil {
		return nil, fault.New(fault.Internal, "ask podman: %w", err)
	}
	res, err := r.client.Do(req)
	if err != nil {
		return nil, r.silent(err)
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	if err := res.Body.Close(); err != nil {
		return nil, r.silent(err)
	}
	if res.StatusCode == http.StatusNotFound {
		return nil, fault.New(fault.NotFound, "podman knows no such container or image")
	}
	return nil, r.silent(fmt.Errorf("status %d", res.StatusCode))
}

// silent is the error of a service that does not answer as it should.
func (r *Runtime) silent(err error) error {
	return fault.New(fault.Unavailable, "podman does not answer: %w", err).
		WithHint("start it with `systemctl start podman.socket` (the agent looks at %s), or take podman out of the agent's configuration", r.socket)
}

var hex64 = regexp.MustCompile(`^[0-9a-f]{64}$`)

// manifests returns every manifest digest the runtime knows, sorted.
func manifests(c record, image imageRecord) []string {
	all := []string{c.ImageDigest, image.Digest}
	for _, repo := range image.RepoDigests {
		_, digest, _ := strings.Cut(repo, "@")
		all = append(all, digest)
	}
	all = slices.DeleteFunc(all, func(d string) bool { return !hex64.MatchString(strings.TrimPrefix(d, "sha256:")) })
	slices.Sort(all)
	return slices.Compact(all)
}

// chainID computes the identity of a root filesystem from its layers' DiffIDs
// (OCI image-spec, config.md, "Layer ChainID").
func chainID(layers []string) (string, error) {
	chain := ""
	for _, diff := range layers {
		if !hex64.MatchString(strings.TrimPrefix(diff, "sha256:")) {
			return "", fault.New(fault.Unavailable, "podman answered with the layer id %q", diff)
		}
		if chain == "" {
			chain = diff
			continue
		}
		sum := sha256.Sum256([]byte(chain + " " + diff))
		chain = "sha256:" + hex.EncodeToString(sum[:])
	}
	return chain, nil
}
