// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
)

const maxAnswer = 64 << 20 // bytes

// doorClient speaks to an agent's socket.
type doorClient struct {
	http   *http.Client
	socket string
}

func newDoor(socket string) *doorClient {
	return &doorClient{socket: socket, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}}
}

func (d *doorClient) get(ctx context.Context, path string, into any) error {
	return d.call(ctx, http.MethodGet, path, "", into)
}

func (d *doorClient) call(ctx context.Context, method, path, body string, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, strings.NewReader(body))
	if err != nil {
		return fault.New(fault.Internal, "ask the agent: %w", err)
	}
	res, err := d.http.Do(req)
	if err != nil {
		return fault.New(fault.Unavailable, "the agent does not answer at %s: %w", d.socket, err).
			WithHint("is `goldkeep agent` running here, and in a container: is the folder of its socket mounted?")
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return fault.New(fault.Unavailable, "read the agent's answer: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return asFault(text, res.StatusCode)
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fault.New(fault.Unavailable, "the agent's answer is no JSON")
	}
	return nil
}

// asFault turns a problem back into the error it was.
func asFault(text []byte, status int) error {
	var p problem
	if json.Unmarshal(text, &p) != nil || p.Detail == "" {
		return fault.New(fault.Unavailable, "the answer has status %d", status)
	}
	return fault.New(fault.KindNamed(p.Kind), "%s", p.Detail).WithHint("%s", p.Hint)
}
