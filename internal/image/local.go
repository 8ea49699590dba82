// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/goldkeep/goldkeep/internal/courier"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// localStore is the REST socket of podman or docker; both answer Docker's API.
type localStore struct {
	engine  string
	sockets []string // tried in this order
}

func podmanStore(o Options) localStore {
	if o.PodmanSocket != "" {
		return localStore{"podman", []string{o.PodmanSocket}}
	}
	own := filepath.Join("/run/user", fmt.Sprint(os.Getuid()), "podman", "podman.sock")
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		own = filepath.Join(dir, "podman", "podman.sock")
	}
	return localStore{"podman", []string{own, "/run/podman/podman.sock"}}
}

func dockerStore(o Options) localStore {
	if o.DockerSocket != "" {
		return localStore{"docker", []string{o.DockerSocket}}
	}
	return localStore{"docker", []string{"/var/run/docker.sock"}}
}

// open asks the engine for the image as a docker-save archive and keeps that in
// a temporary file while the image is open.
func (s localStore) open(ctx context.Context, ref string, o Options) (*Image, error) {
	body, err := s.get(ctx, ref)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	f, size, err := spool(ctx, body, o.Limits.WithDefaults().ArchiveBytes)
	if err != nil {
		return nil, err
	}
	return openArchiveFile(ctx, openedFile{f, f, size, ref}, o)
}

func (s localStore) get(ctx context.Context, ref string) (io.ReadCloser, error) {
	socket, err := s.socket()
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: courier.Dial}).DialContext(ctx, "unix", socket)
		},
	}}
	target := url.URL{Scheme: "http", Host: s.engine, Path: "/images/" + ref + "/get"}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, fault.New(fault.Invalid, "ask %s for image: %w", s.engine, err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "ask %s for image %s: %w", s.engine, ref, err).WithHint("does %s run, and may you use its socket?", s.engine)
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		return resp.Body, nil
	case resp.StatusCode == http.StatusNotFound:
		err = fault.New(fault.NotFound, "ask %s for image %s: no such image", s.engine, ref).WithHint("see what is there with: %s images", s.engine)
	default:
		err = fault.New(fault.Unavailable, "ask %s for image %s: %s", s.engine, ref, resp.Status)
	}
	return nil, errors.Join(err, resp.Body.Close())
}

func (s localStore) socket() (string, error) {
	for _, path := range s.sockets {
		if info, err := os.Stat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
			return path, nil
		}
	}
	return "", fault.New(fault.Unavailable, "ask %s for image: no socket at %s", s.engine, strings.Join(s.sockets, " or ")).
		WithHint("start it with: systemctl --user start podman.socket (or start the docker service)")
}

// spool copies r to a temporary file that has no name any more: it is gone when
// it is closed, whatever happens to the process.
func spool(ctx context.Context, r io.Reader, limit int64) (*os.File, int64, error) {
	f, err := os.CreateTemp("", "goldkeep-image-*")
	if err != nil {
		return nil, 0, fault.New(fault.Unavailable, "make temporary file: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	n, err := io.Copy(f, io.LimitReader(contextReader{ctx.Err, r}, limit+1))
	switch {
	case err != nil:
		return nil, 0, errors.Join(fault.New(fault.Invalid, "copy image to temporary file: %w", err), f.Close())
	case n > limit:
		return nil, 0, errors.Join(fault.New(fault.TooLarge, "copy image to temporary file: more than %d bytes", limit), f.Close())
	}
	return f, n, nil
}

// contextReader stops when its context is done.
type contextReader struct {
	done func() error
	r    io.Reader
}

// Read implements io.Reader.
func (c contextReader) Read(p []byte) (int, error) {
	if err := c.done(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
