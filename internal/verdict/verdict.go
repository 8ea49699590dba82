// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package verdict judges: (evidence, rules, time) -> admit? retain? It is pure:
// no clock, no network, no database. The same input gives the same verdict, byte
// for byte, and the verdict carries the hashes of all three.
package verdict

import (
	"time"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/finding"
)

// Evidence is all that is known of a digest.
type Evidence struct {
	Image      Image                 `json:"image"`
	OS         component.OS          `json:"os"`
	Components []component.Component `json:"components"`
	Facts      []component.Fact      `json:"facts"`
	Findings   []finding.Finding     `json:"findings"`
	Gaps       []finding.Gap         `json:"gaps"`
	Problems   []component.Problem   `json:"problems"`
	Channels   []Channel             `json:"channels"`          // the channels of golden images this digest stands in; nil: nobody looked
	Signatures []Signature           `json:"signatures"`        // verified ones only; nil: nobody looked
	Signers    []Signer              `json:"signers,omitempty"` // who may be believed, and whom to call about a signature
	Triage     []Triage              `json:"triage,omitempty"`  // decisions on findings; expired ones count no more
	Origins    []Origin              `json:"origins,omitempty"` // the golden images its layers come from, lowest first
	Snapshot   string                `json:"snapshot"`          // of the advisory database; "": there is none
	SnapshotAt time.Time             `json:"snapshotAt"`        // when it was last synced

	// PartialFeeds are the feeds that speak of this image and could not be read
	// whole, with the reason: "Debian: records that could not be read: 2 (...)".
	PartialFeeds []string `json:"partialFeeds,omitempty"`
}

// Image is the image part of evidence, with the field names CEL rules use.
type Image struct {
	Name     string            `json:"name"`
	ID       string            `json:"id"`
	ChainID  string            `json:"chainId"`
	Platform string            `json:"platform"`
	Kind     string            `json:"kind"` // image, artifact (one program), sbom (a bill of materials alone)
	Created  time.Time         `json:"created"`
	User     string            `json:"user"`
	Labels   map[string]string `json:"labels"`
	Ports    []string          `json:"ports"`
	Base     string            `json:"base"`
	// BaseImage is what Base is, or was found to be, where that is known.
	BaseImage Base   `json:"baseImage,omitzero"`
	Owner     string `json:"owner"` // of the golden image, where it is one
	Contact   string `json:"contact"`
	Origin    string `json:"origin,omitempty"` // of a bill of materials: "CycloneDX 1.6 by syft 1.57.0"
	About     string `json:"about,omitempty"`  // of a bill of materials: the digest of the image that it is said to be of
}

// Base is the image another one is built on.
type Base struct {
	Name    string    `json:"name"`
	ID      string    `json:"id"`
	Created time.Time `json:"created,omitzero"`
	By      string    `json:"by"` // how sure that is: "layers" (they are its first), or "annotation" (the image says so)
	Golden  string    `json:"golden,omitempty"`
	Channel string    `json:"channel,omitempty"` // where it stands, or stood last
	Newest  string    `json:"newest,omitempty"`  // what stands there now, where that is another image
	Owner   string    `json:"owner,omitempty"`
	Contact string    `json:"contact,omitempty"`
}

// Origin says which golden image the layers up to one come from, and who to call.
type Origin struct {
	Layers  int    `json:"layers"` // how many, counted from the lowest; those of the origin before come from that one
	Golden  string `json:"golden"`
	Channel string `json:"channel"`
	Image   string `json:"image"`          // ID
	Past    bool   `json:"past,omitempty"` // it has left the channel since
	Newest  string `json:"newest,omitempty"`
	Owner   string `json:"owner"`
	Contact string `json:"contact,omitempty"`
}

// Bill is the Kind of evidence that comes from a bill of materials: what is known
// of files, users, settings and labels is nothing.
const Bill = "sbom"

// Program is the Kind of evidence on a plain program: it is built on no image.
const Program = "artifact"

// Signer is who a declared Signer is.
type Signer struct {
	Name    string `json:"name"`
	Owner   string `json:"owner,omitempty"`
	Contact string `json:"contact,omitempty"`
}

// Channel is a place in a golden image's line.
type Channel struct {
	Golden string    `json:"golden"`
	Name   string    `json:"name"` // gold, silver, bronze, ...
	Owner  string    `json:"owner"`
	Since  time.Time `json:"since"`
}

// Approval is the type of the statements that signedBy counts: "this may be
// released", as cosign sign writes it. Whatever else a signer says is no approval.
const Approval = "https://sigstore.dev/cosign/sign/v1"

// Signature is a statement whose signature was verified.
type Signature struct {
	Signer   string    `json:"signer"` // the name of a Signer
	Type     string    `json:"type"`   // the statement's predicate type: Approval, or what else was said
	Identity string    `json:"identity,omitempty"`
	Issuer   string    `json:"issuer,omitempty"`
	Manifest string    `json:"manifest"`         // digest of the manifest or index that was signed
	Digest   string    `json:"digest"`           // of the bundle
	Result   string    `json:"result,omitempty"` // of a test result or verification summary: PASSED, WARNED, FAILED
	Time     time.Time `json:"time,omitzero"`    // when it was signed, where that is proven
}

// Answer is the outcome of one question.
type Answer string

// The answers. Unknown counts as no for admit, and as "keep, and shout" for retain.
const (
	Yes     Answer = "yes"
	No      Answer = "no"
	Unknown Answer = "unknown"
)

// Action is what happens to what runs already when retain says no.
type Action string

// The actions.
const (
	Warn    Action = "warn"
	Revoke  Action = "revoke"
	Replace Action = "replace"
)

// Verdict is the judgement on one image in one environment.
type Verdict struct {
	Environment string    `json:"environment"`
	Image       string    `json:"image"` // ID
	Admit       Outcome   `json:"admit"`
	Retain      Outcome   `json:"retain"`
	At          time.Time `json:"at"`
	Until       time.Time `json:"until,omitzero"` // when it next changes by itself (age, grace, stale advisories); zero: never
	Hashes      Hashes    `json:"hashes"`
}

// Admitted reports whether the image may start. Unknown is no.
func (v Verdict) Admitted() bool { return v.Admit.Answer == Yes }

// Retained reports whether what runs already may keep running and keep its
// secrets. Unknown is yes: keep, and shout.
func (v Verdict) Retained() bool { return v.Retain.Answer != No }

// Outcome is one of the two answers with its reasons.
type Outcome struct {
	Answer  Answer    `json:"answer"`
	Action  Action    `json:"action,omitempty"` // retain only, where the answer is no
	Reasons []Reason  `json:"reasons"`          // failed and unknown rules first, then warnings
	Until   time.Time `json:"until,omitzero"`
}

// Reason explains one rule.
type Reason struct {
	Rule     string    `json:"rule"`              // "vulnerabilities.maxCVSS", "age", "hygiene.root", ...
	Answer   Answer    `json:"answer"`            // no, unknown; yes for a warning (in grace)
	Text     string    `json:"text"`              // what, in one line
	Evidence []string  `json:"evidence"`          // which: ids with package and version, paths
	Owner    string    `json:"owner,omitempty"`   // who to call
	Remedy   string    `json:"remedy"`            // the shortest way out
	Deadline time.Time `json:"deadline,omitzero"` // in grace until then
	Action   Action    `json:"action,omitempty"`
}

// Hashes name what was judged: "sha256:..." of the canonical JSON of each.
type Hashes struct {
	Evidence string `json:"evidence"`
	Rules    string `json:"rules"`
	Time     string `json:"time"`
}
