// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package client

import "context"

// ListSecrets lists the names in a folder of a KV version 2 mount; those that end
// in "/" are folders. An empty folder is a not_found without a message.
func (c *Client) ListSecrets(ctx context.Context, mount, path string) ([]string, error) {
	var a struct {
		Data struct {
			Keys []string `json:"keys"`
		} `json:"data"`
	}
	where := "/v1/" + escape(mount) + "/metadata/"
	if path != "" {
		where += escape(path) + "/"
	}
	err := c.Do(ctx, "GET", where+"?list=true", nil, &a)
	return a.Data.Keys, err
}

// EnableKV mounts a KV version 2 engine.
func (c *Client) EnableKV(ctx context.Context, mount string) error {
	in := map[string]any{"type": "kv", "options": map[string]string{"version": "2"}}
	return c.Do(ctx, "POST", "/v1/sys/mounts/"+escape(mount), in, nil)
}

// DeleteSecret deletes the newest version of a KV version 2 secret; with all
// every version and its metadata, for good.
func (c *Client) DeleteSecret(ctx context.Context, mount, path string, all bool) error {
	part := "/data/"
	if all {
		part = "/metadata/"
	}
	return c.Do(ctx, "DELETE", "/v1/"+escape(mount)+part+escape(path), nil, nil)
}

// Self is what the server knows of the token in use.
type Self struct {
	DisplayName string   `json:"display_name"`
	Policies    []string `json:"policies"`
	TTL         int64    `json:"ttl"` // seconds; 0: it does not end
}

// LookupSelf tells whose token is in use. An unknown token is denied.
func (c *Client) LookupSelf(ctx context.Context) (*Self, error) {
	var a struct {
		Data Self `json:"data"`
	}
	err := c.Do(ctx, "GET", "/v1/auth/token/lookup-self", nil, &a)
	return &a.Data, err
}
