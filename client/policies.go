// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"time"
)

// PolicyQuestion asks what would be decided about a request, and why. One of Token,
// Accessor, Workload and Policies says whose rights are meant.
type PolicyQuestion struct {
	Token      string                     `json:"token,omitempty"`
	Accessor   string                     `json:"accessor,omitempty"`
	Workload   string                     `json:"workload,omitempty"`
	Policies   []string                   `json:"policies,omitempty"`
	Capability string                     `json:"capability"` // read, list, write (create or update, whichever it would be), create, update, patch, delete, scan
	Path       string                     `json:"path"`       // "secret/data/app", without /v1/
	Fields     map[string]json.RawMessage `json:"fields,omitempty"`
	WrapTTL    int                        `json:"wrapTTL,omitempty"` // seconds
}

// PolicyExplanation is the answer.
type PolicyExplanation struct {
	Allowed    bool              `json:"allowed"`
	Reason     string            `json:"reason"`
	Missing    string            `json:"missing,omitempty"` // what is missing, where it is denied
	Holder     string            `json:"holder,omitempty"`
	Accessor   string            `json:"accessor,omitempty"`
	Policies   []string          `json:"policies"`         // what the holder has
	Absent     []string          `json:"absent,omitempty"` // those of them that do not exist
	Mount      string            `json:"mount,omitempty"`  // "": nothing is mounted there
	Path       string            `json:"path"`
	Capability string            `json:"capability"`
	Sudo       bool              `json:"sudo,omitempty"` // the path needs sudo besides
	Rule       string            `json:"rule,omitempty"` // the path of the rule that decided
	Rules      []PolicyRule      `json:"rules"`          // all rules about the path, the ones that decided first
	Perhaps    []PolicyComplaint `json:"perhaps,omitempty"`
}

// PolicyRule is one rule about a path.
type PolicyRule struct {
	Policy       string   `json:"policy"`
	Line         int      `json:"line,omitempty"`
	Path         string   `json:"path"`
	Capabilities []string `json:"capabilities"`
	Decides      bool     `json:"decides"`
	Owner        string   `json:"owner,omitempty"` // of the policy
	Contact      string   `json:"contact,omitempty"`
}

// PolicyText is a policy as it is written. Without Rules the one the server holds is
// meant, and without a name all of them.
type PolicyText struct {
	Policy string `json:"policy,omitempty"`
	Rules  string `json:"rules,omitempty"`
}

// PolicyComplaint says what of a rule will not do what it looks like.
type PolicyComplaint struct {
	Policy  string `json:"policy"`
	Line    int    `json:"line,omitempty"`
	Path    string `json:"path"`
	Text    string `json:"text"`
	Fix     string `json:"fix"`
	Warning bool   `json:"warning,omitempty"` // it may be meant
}

// PolicyChange is a policy as it shall be, to be tried on recorded requests.
type PolicyChange struct {
	Policy string    `json:"policy"`
	Rules  string    `json:"rules"`
	Since  time.Time `json:"since,omitzero"` // only requests from then on
}

// PolicySimulation is what a changed policy would do to the requests in the audit log
// of the answering node.
type PolicySimulation struct {
	Policy   string           `json:"policy"`
	Since    time.Time        `json:"since,omitzero"` // the first request looked at
	Requests int              `json:"requests"`       // how many were decided again
	Unknown  int              `json:"unknown"`        // records that do not say enough
	Changes  []PolicyReplayed `json:"changes"`
}

// PolicyReplayed is a kind of request that would be decided otherwise.
type PolicyReplayed struct {
	Path       string    `json:"path"`
	Capability string    `json:"capability"`
	Allowed    bool      `json:"allowed"` // with the changed policy
	Reason     string    `json:"reason"`  // of that
	Rule       string    `json:"rule,omitempty"`
	Holder     string    `json:"holder"`
	Policies   []string  `json:"policies"`
	Times      int       `json:"times"`
	Last       time.Time `json:"last"`
	Unsure     bool      `json:"unsure,omitempty"` // depends on values that are not recorded
}

// ExplainPolicy says what would be decided about a request, and why.
func (c *Client) ExplainPolicy(ctx context.Context, ask PolicyQuestion) (*PolicyExplanation, error) {
	return send[PolicyExplanation](ctx, c, "POST", "/api/v1/policies/explain", ask)
}

// LintPolicy finds what of policies will not do what it looks like.
func (c *Client) LintPolicy(ctx context.Context, text PolicyText) ([]PolicyComplaint, error) {
	found, err := send[struct {
		Items []PolicyComplaint `json:"items"`
	}](ctx, c, "POST", "/api/v1/policies/lint", text)
	if err != nil {
		return nil, err
	}
	return found.Items, nil
}

// SimulatePolicy tries a changed policy on recorded requests.
func (c *Client) SimulatePolicy(ctx context.Context, change PolicyChange) (*PolicySimulation, error) {
	return send[PolicySimulation](ctx, c, "POST", "/api/v1/policies/simulate", change)
}
