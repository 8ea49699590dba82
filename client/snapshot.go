// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"io"
	"net/http"
)

// SaveSnapshot writes a copy of all the server holds. Verify it before it is
// trusted: a connection that breaks leaves half of one.
func (c *Client) SaveSnapshot(ctx context.Context, to io.Writer) error {
	resp, err := c.answer(ctx, http.MethodGet, "/v1/sys/storage/raft/snapshot", nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if _, err := io.Copy(to, resp.Body); err != nil {
		return unreachable(c.addr, err)
	}
	return nil
}

// RestoreSnapshot puts a copy in the place of all the server holds, which then
// starts anew. force takes one that the server's own keys did not make.
func (c *Client) RestoreSnapshot(ctx context.Context, from io.Reader, force bool) error {
	path := "/v1/sys/storage/raft/snapshot"
	if force {
		path += "-force"
	}
	return c.Do(ctx, http.MethodPost, path, from, nil)
}
