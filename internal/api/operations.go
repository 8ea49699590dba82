// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"slices"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/audit"
)

// operations is the whole API, in the order of the documentation.
func (e *Engine) operations() []operation {
	all := []operation{
		{
			method: "GET", path: "/api/v1/images", summary: "List the images the server has been asked about",
			do: e.listImages, out: items[client.Image]{}, query: []string{"after", "limit"}, sealed: true,
		},
		{
			method: "POST", path: "/api/v1/images", summary: "Send an image archive, an executable or a bill of materials; the server reads it",
			do: e.addImage, out: client.Image{}, query: []string{"name", "of"}, stream: true,
		},
		{
			method: "POST", path: "/api/v1/images/pull", summary: "Have the server fetch an image from a registry and scan it",
			do: e.pullImage, in: pullRequest{}, out: client.Image{},
		},
		{
			method: "GET", path: "/api/v1/images/{digest}", summary: "Show an image, by any of its digests, with evidence and verdicts",
			do: e.showImage, out: client.Image{}, sealed: true,
		},
		{
			method: "POST", path: "/api/v1/layers", summary: "Say which layers need not be sent with an image",
			do: e.knownLayers, in: client.Layers{}, out: client.Layers{},
		},
		{
			method: "GET", path: "/api/v1/environments/{name}/checks/{digest}", summary: "Judge an image in an environment, now, and show the evidence",
			do: e.check, out: client.Check{}, sealed: true,
		},
		{
			method: "GET", path: "/api/v1/environments", summary: "List the environments",
			do: e.listEnvironments, out: items[client.Environment]{}, sealed: true,
		},
		{
			method: "GET", path: "/api/v1/environments/{name}", summary: "Show an environment",
			do: e.showEnvironment, out: client.Environment{}, sealed: true,
		},
		{
			method: "GET", path: "/api/v1/environments/{name}/verdicts/{digest}", summary: "Judge an image in an environment, now",
			do: e.judge, out: client.Verdict{}, sealed: true,
		},
		{
			method: "POST", path: "/api/v1/environments/{name}/verdicts/{digest}",
			summary: "Judge an image; one never seen is denied, and fetched from a registry meanwhile",
			do:      e.ask, in: askRequest{}, out: client.Verdict{},
		},
		{
			method: "GET", path: "/api/v1/golden-images", summary: "List the golden images",
			do: e.listGoldens, out: items[client.Golden]{}, sealed: true,
		},
		{
			method: "GET", path: "/api/v1/workloads", summary: "List the workloads",
			do: e.listWorkloads, out: items[client.Workload]{},
		},
		{
			method: "GET", path: "/api/v1/workloads/{name}", summary: "Show a workload",
			do: e.showWorkload, out: client.Workload{},
		},
		{
			method: "POST", path: "/api/v1/plan", summary: "Say what documents would change",
			do: e.plan, in: client.PlanRequest{}, out: client.Plan{},
		},
		{
			method: "POST", path: "/api/v1/apply", summary: "Make the server be what documents say",
			do: e.apply, in: client.PlanRequest{}, out: client.Plan{},
		},
		{
			method: "GET", path: "/api/v1/triage", summary: "List the decisions on findings",
			do: e.listTriage, out: items[client.Triage]{}, query: []string{"image"}, sealed: true,
		},
		{
			method: "POST", path: "/api/v1/triage", summary: "Record a decision on a finding",
			do: e.putTriage, in: client.Triage{}, out: client.Triage{},
		},
		{
			method: "DELETE", path: "/api/v1/triage/{id}", summary: "Take a decision on a finding back",
			do: e.deleteTriage,
		},
		{
			method: "GET", path: "/api/v1/advisories", summary: "Show the state of the advisory database",
			do: e.showAdvisories, out: client.Snapshot{}, sealed: true,
		},
		{
			method: "POST", path: "/api/v1/advisories", summary: "Have the server fetch its feeds now, instead of when they are due",
			do: e.fetchFeeds, in: struct{}{}, out: client.Snapshot{},
		},
		{
			method: "GET", path: "/api/v1/advisories/{name}", summary: "Show the advisories with this id, or with this other name of the flaw",
			do: e.showAdvisory, out: items[client.Advisory]{}, sealed: true,
		},
		{
			method: "PUT", path: "/api/v1/advisories/{name}", summary: "Send a feed: an OSV all.zip, or the files kev, epss and cvss",
			do: e.putFeed, out: client.FeedChange{}, stream: true,
		},
		{
			method: "GET", path: "/api/v1/instances", summary: "List the running instances",
			do: e.listInstances, out: items[client.Instance]{}, query: []string{"all", "after", "limit"}, sealed: true,
		},
	}
	return slices.Concat(all, e.fleetOperations(), e.vexOperations(), e.signingOperations(), e.notifyOperations(), e.policyOperations(), e.agentOperations())
}

// agentOperations are those an agent uses, and the ones about the server.
func (e *Engine) agentOperations() []operation {
	return []operation{
		{
			method: "POST", path: "/api/v1/instances", summary: "Ask for an identity for an attested workload",
			do: e.admit, in: client.AdmitRequest{}, out: client.Grant{},
		},
		{
			method: "GET", path: "/api/v1/instances/{id}", summary: "Show an instance",
			do: e.showInstance, out: client.Instance{}, sealed: true,
		},
		{
			method: "DELETE", path: "/api/v1/instances/{id}", summary: "End an instance whose process has ended",
			do: e.leave, query: []string{"node"},
		},
		{
			method: "POST", path: "/api/v1/instances/{id}/renew", summary: "Make an instance's identity live on",
			do: e.renew, in: client.RenewRequest{}, out: client.Grant{},
		},
		{
			method: "POST", path: "/api/v1/nodes/{node}", summary: "Make a token for the agent of a node",
			do: e.enrol, in: struct{}{}, out: client.NodeToken{},
		},
		{
			method: "GET", path: "/api/v1/nodes/{node}/watch", summary: "Wait until something changes for a node",
			do: e.watch, out: client.NodeChange{}, query: []string{"since", "secretsSince", "timeout"},
		},
		{
			method: "GET", path: "/api/v1/audit", summary: "Read the audit log of this node, opened",
			do: e.records, out: items[client.AuditRecord]{}, query: []string{"after", "limit"},
		},
		{
			method: "GET", path: "/api/v1/audit/anchor", summary: "How far this node's audit log has come, for goldkeep audit verify",
			do: e.anchor, out: audit.Anchor{}, sealed: true,
		},
		{
			method: "GET", path: "/api/v1/openapi.json", summary: "This document",
			do: e.openAPI, out: object{}, open: true, sealed: true,
		},
	}
}
