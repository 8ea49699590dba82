// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// AppendEnvelope writes the answer as clients of /v1 read it: every key is
// there, null where it says nothing, and what an engine gave as JSON stays as
// it is, byte for byte.
func (r *Response) AppendEnvelope(b []byte) ([]byte, error) {
	a := r.Answer
	if a == nil {
		a = &engine.Response{}
	}
	if r.Wrap != nil {
		a = &engine.Response{Warnings: a.Warnings}
	}
	data, err := marshal(a.Data)
	if err != nil {
		return nil, err
	}
	id := r.ID
	if r.Wrap != nil {
		id = "" // as clients know it: the request's own is in what is wrapped
	}
	b = engine.AppendText(append(b, `{"request_id":`...), id)
	b = appendLease(b, a)
	b = append(append(b, `,"data":`...), data...)
	b = appendWrap(append(b, `,"wrap_info":`...), r.Wrap)
	b = appendTexts(append(b, `,"warnings":`...), a.Warnings)
	if b, err = appendAuth(append(b, `,"auth":`...), a.Auth); err != nil {
		return nil, err
	}
	if a.Flat && r.Wrap == nil {
		if b, err = appendFlat(b, data); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func marshal(data any) (json.RawMessage, error) {
	switch data := data.(type) {
	case nil:
		return json.RawMessage("null"), nil
	case json.RawMessage:
		return data, nil
	}
	raw, err := json.Marshal(data)
	if err != nil {
		return nil, fault.New(fault.Internal, "encode answer: %w", err)
	}
	return raw, nil
}

func appendLease(b []byte, a *engine.Response) []byte {
	id, renewable, ttl := "", false, a.Duration
	if a.Secret != nil {
		id, renewable, ttl = a.Secret.LeaseID, a.Secret.Renewable, a.Secret.TTL
	}
	b = engine.AppendText(append(b, `,"lease_id":`...), id)
	b = strconv.AppendBool(append(b, `,"renewable":`...), renewable)
	return appendSeconds(append(b, `,"lease_duration":`...), ttl)
}

func appendWrap(b []byte, w *engine.Wrap) []byte {
	if w == nil {
		return append(b, "null"...)
	}
	b = engine.AppendText(append(b, `{"token":`...), w.Token)
	b = engine.AppendText(append(b, `,"accessor":`...), w.Accessor)
	b = appendSeconds(append(b, `,"ttl":`...), w.TTL)
	b = engine.AppendText(append(b, `,"creation_time":`...), w.Created.UTC().Format(time.RFC3339Nano))
	b = engine.AppendText(append(b, `,"creation_path":`...), w.Path)
	if w.WrappedAccessor != "" {
		b = engine.AppendText(append(b, `,"wrapped_accessor":`...), w.WrappedAccessor)
	}
	return append(b, '}')
}

// authBlock is the form of "auth" in an answer.
type authBlock struct {
	ClientToken      string            `json:"client_token"`
	Accessor         string            `json:"accessor"`
	Policies         []string          `json:"policies"`
	TokenPolicies    []string          `json:"token_policies"`
	IdentityPolicies []string          `json:"identity_policies"`
	Metadata         map[string]string `json:"metadata"`
	LeaseDuration    int64             `json:"lease_duration"`
	Renewable        bool              `json:"renewable"`
	EntityID         string            `json:"entity_id"`
	TokenType        string            `json:"token_type"`
	Orphan           bool              `json:"orphan"`
	NumUses          int               `json:"num_uses"`
	MFARequirement   *required         `json:"mfa_requirement"`
}

// required is the form of what a login needs besides its credential.
type required struct {
	ID          string              `json:"mfa_request_id"`
	Constraints map[string]proofSet `json:"mfa_constraints"`
}

type proofSet struct {
	Any []auth.Proof `json:"any"`
}

func requirement(r *auth.Requirement) *required {
	if r == nil {
		return nil
	}
	shown := &required{ID: r.ID, Constraints: map[string]proofSet{}}
	for name, proofs := range r.Any {
		shown.Constraints[name] = proofSet{proofs}
	}
	return shown
}

func appendAuth(b []byte, g *auth.Granted) ([]byte, error) {
	if g == nil {
		return append(b, "null"...), nil
	}
	raw, err := json.Marshal(authBlock{
		ClientToken: g.Token, Accessor: g.Accessor, Policies: g.All(), TokenPolicies: g.Policies, IdentityPolicies: g.Identity,
		Metadata: g.Meta, LeaseDuration: int64(g.TTL / time.Second), Renewable: g.Renewable,
		EntityID: g.EntityID, TokenType: g.Type, Orphan: g.Orphan, NumUses: g.NumUses, MFARequirement: requirement(g.Needs),
	})
	return append(b, raw...), err
}

// appendFlat repeats the fields of data beside it.
func appendFlat(b []byte, data json.RawMessage) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return nil, fault.New(fault.Internal, "flatten answer: %w", err)
	}
	for name, value := range fields {
		switch name {
		case "request_id", "lease_id", "renewable", "lease_duration", "data", "wrap_info", "warnings", "auth":
			continue
		}
		b = append(engine.AppendText(append(b, ','), name), ':')
		b = append(b, value...)
	}
	return b, nil
}

func appendSeconds(b []byte, d time.Duration) []byte {
	return strconv.AppendInt(b, int64(d/time.Second), 10)
}

func appendTexts(b []byte, texts []string) []byte {
	if len(texts) == 0 {
		return append(b, "null"...)
	}
	b = append(b, '[')
	for i, s := range texts {
		if i > 0 {
			b = append(b, ',')
		}
		b = engine.AppendText(b, s)
	}
	return append(b, ']')
}
