// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/attest"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Server is the part of the server's API the agent needs. Errors carry a
// fault.Kind; a verdict's no is a *Refusal. Denied, Refused and NotFound end an
// identity; every other error is tried again until the identity expires.
type Server interface {
	// Admit asks for an identity: POST /api/v1/instances.
	Admit(ctx context.Context, ask Admission) (*Grant, error)
	// Renew asks for a new certificate and token: POST /api/v1/instances/{id}/renew.
	// An empty token or bundle and a nil list of secrets mean "as before"; so does a
	// nil sight, which else tells what the workload was seen doing.
	Renew(ctx context.Context, id, csr string, sight *attest.Sight) (*Grant, error)
	// Leave tells that the workload has ended: DELETE /api/v1/instances/{id}.
	Leave(ctx context.Context, id string) error
	// Watch waits for news of this node after the two revisions seen last:
	// GET /api/v1/nodes/{node}/watch.
	Watch(ctx context.Context, since, secrets int64, wait time.Duration) (*News, error)
	// Upload sends an image as a docker archive, or a program: POST /api/v1/images.
	Upload(ctx context.Context, name string, content io.Reader) error
	// Read reads a secret with a workload's token: GET /v1/<mount>/data/<path>.
	Read(ctx context.Context, token string, s Secret) (map[string]json.RawMessage, error)
}

// Admission is the question whether a workload may have an identity.
type Admission struct {
	Node     string           `json:"node"`
	Evidence *attest.Evidence `json:"evidence"`
	CSR      string           `json:"csr"` // PEM; only its public key counts
}

// Grant is what an admitted workload gets.
type Grant struct {
	Instance    Instance `json:"instance"`
	Token       string   `json:"token"`
	Certificate string   `json:"certificate"` // PEM, leaf first
	Bundle      string   `json:"bundle"`      // PEM
	SpiffeID    string   `json:"spiffeId"`    // may be empty: the certificate tells
	Secrets     []Secret `json:"secrets"`
	TTL         int64    `json:"ttl"` // seconds; 0: Instance.Expires counts
	OnChange    OnChange `json:"onChange"`
}

// Instance is the server's record of one running copy.
type Instance struct {
	ID          string    `json:"id"`
	Workload    string    `json:"workload"`
	Environment string    `json:"environment"`
	State       string    `json:"state"`
	Reason      string    `json:"reason,omitempty"`
	Until       time.Time `json:"until,omitzero"`
	Expires     time.Time `json:"expires"`
}

// Secret says which secret goes where.
type Secret struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"` // kv
	Mount  string `json:"mount"`
	Path   string `json:"path"`
	Field  string `json:"field,omitempty"`  // one field of it; "": all
	File   string `json:"file,omitempty"`   // below the workload's folder; "dir/": a file for each field
	Env    string `json:"env,omitempty"`    // environment variable; no file and no env: one variable for each field
	Format string `json:"format,omitempty"` // json (default), dotenv, raw
}

// OnChange says what happens to a child when its secrets change.
type OnChange struct {
	Signal string `json:"signal,omitempty"`
}

// News is what happened to the instances of a node.
type News struct {
	Revision        int64    `json:"revision"`
	SecretsRevision int64    `json:"secretsRevision"`
	Instances       []Status `json:"instances"`
}

// Status is the state of one instance: active, warned, revoked, gone.
type Status struct {
	ID     string    `json:"id"`
	State  string    `json:"state"`
	Reason string    `json:"reason,omitempty"`
	Until  time.Time `json:"until,omitzero"`
}

// Refusal is a verdict's no, with its reasons.
type Refusal struct {
	Detail  string   `json:"detail"`
	Hint    string   `json:"hint,omitempty"`
	Reasons []Reason `json:"reasons,omitempty"`
	Wanted  bool     `json:"wanted,omitempty"` // the server has never seen it: upload it and ask again
}

// Reason is one failed rule.
type Reason struct {
	Rule     string   `json:"rule"`
	Text     string   `json:"text"`
	Evidence []string `json:"evidence,omitempty"`
	Owner    string   `json:"owner,omitempty"`
	Remedy   string   `json:"remedy,omitempty"`
}

// Error is the whole story in one text: what a developer reads first.
func (r *Refusal) Error() string {
	var b strings.Builder
	b.WriteString(r.Detail)
	for _, reason := range r.Reasons {
		fmt.Fprintf(&b, "\n  - %s: %s", reason.Rule, reason.Text)
		if len(reason.Evidence) > 0 {
			fmt.Fprintf(&b, " (%s)", strings.Join(reason.Evidence, ", "))
		}
		if reason.Owner != "" {
			fmt.Fprintf(&b, "\n    owner: %s", reason.Owner)
		}
		if reason.Remedy != "" {
			fmt.Fprintf(&b, "\n    to do: %s", reason.Remedy)
		}
	}
	return b.String()
}

// Unwrap gives the refusal its kind and hint.
func (r *Refusal) Unwrap() error {
	return fault.New(fault.Refused, "%s", r.Detail).WithHint("%s", r.Hint)
}

var idText = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)

// isID bounds an instance's ID too: counting in the pattern would make it large.
func isID(text string) bool { return len(text) <= 128 && idText.MatchString(text) }

// check refuses a grant that cannot be used safely: the id becomes a folder name.
func (g *Grant) check(now time.Time) error {
	if g == nil || !isID(g.Instance.ID) {
		return fault.New(fault.Unavailable, "the server's answer has no usable instance id")
	}
	if g.Token == "" || !g.expiry(now).After(now) {
		return fault.New(fault.Unavailable, "the server's answer has no token, or one that has expired")
	}
	return nil
}

// expiry is when the grant ends on the clock of this machine, for an answer to a
// question asked at asked: clocks that differ do not matter.
func (g *Grant) expiry(asked time.Time) time.Time {
	if g.TTL > 0 {
		return asked.Add(time.Duration(g.TTL) * time.Second)
	}
	return g.Instance.Expires
}
