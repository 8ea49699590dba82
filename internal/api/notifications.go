// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/notify"
)

// notifyOperations are those about who is told what.
func (e *Engine) notifyOperations() []operation {
	return []operation{
		{
			method: "GET", path: "/api/v1/notifications", summary: "List who is told of what, and where",
			do: e.listNotifications, out: items[client.Notification]{}, sealed: true,
		},
		{
			method: "POST", path: "/api/v1/notifications/{name}/test", summary: "Send a test message to where a notification goes",
			do: e.testNotification, in: struct{}{}, out: client.Delivery{},
		},
		{
			method: "GET", path: "/api/v1/deliveries", summary: "List the digests sent, or on their way, the newest first",
			do: e.listDeliveries, out: items[client.Delivery]{}, query: []string{"state", "limit"}, sealed: true,
		},
		{
			method: "GET", path: "/api/v1/deliveries/{id}", summary: "Show a delivery with its digest",
			do: e.showDelivery, out: client.Delivery{}, sealed: true,
		},
	}
}

func (e *Engine) listNotifications(ctx context.Context, _ *call) (any, error) {
	return listOf(e.o.Notify.Summaries(ctx))
}

func (e *Engine) testNotification(ctx context.Context, c *call) (any, error) {
	return e.o.Notify.Test(ctx, c.vars["name"])
}

func (e *Engine) listDeliveries(ctx context.Context, c *call) (any, error) {
	limit, err := c.number("limit", notify.MaxList)
	if err != nil {
		return nil, err
	}
	state := notify.DeliveryState(c.param("state"))
	switch state {
	case "", notify.Pending, notify.Sent, notify.Failed:
	default:
		return nil, fault.New(fault.Invalid, "state must be pending, sent or failed")
	}
	return listOf(e.o.Notify.Deliveries(ctx, state, limit))
}

func (e *Engine) showDelivery(ctx context.Context, c *call) (any, error) {
	return e.o.Notify.Delivery(ctx, c.vars["id"])
}
