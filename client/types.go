// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"encoding/json"
	"time"
)

// Image is one image the server was asked about.
type Image struct {
	ID        string          `json:"id"` // config digest, or SHA-256 of an executable
	Name      string          `json:"name"`
	Kind      string          `json:"kind"`  // image, artifact
	State     string          `json:"state"` // wanted, known, failed
	Error     string          `json:"error,omitempty"`
	FirstSeen time.Time       `json:"firstSeen"`
	Scanned   time.Time       `json:"scanned,omitzero"`
	Digests   []string        `json:"digests,omitempty"`
	Evidence  json.RawMessage `json:"evidence,omitempty"` // docs/check-json.md
	Verdicts  []Verdict       `json:"verdicts,omitempty"`
}

// Verdict is the judgement on one image in one environment.
type Verdict struct {
	Environment string    `json:"environment"`
	Image       string    `json:"image"`
	Admit       Outcome   `json:"admit"`
	Retain      Outcome   `json:"retain"`
	At          time.Time `json:"at"`
	Until       time.Time `json:"until,omitzero"`
	Hashes      Hashes    `json:"hashes"`
}

// Outcome is one of a verdict's two answers.
type Outcome struct {
	Answer  string    `json:"answer"` // yes, no, unknown
	Action  string    `json:"action,omitempty"`
	Reasons []Reason  `json:"reasons"`
	Until   time.Time `json:"until,omitzero"`
}

// Reason explains one rule.
type Reason struct {
	Rule     string    `json:"rule"`
	Answer   string    `json:"answer"`
	Text     string    `json:"text"`
	Evidence []string  `json:"evidence"`
	Owner    string    `json:"owner,omitempty"`
	Remedy   string    `json:"remedy"`
	Deadline time.Time `json:"deadline,omitzero"`
	Action   string    `json:"action,omitempty"`
}

// Hashes name what was judged.
type Hashes struct {
	Evidence string `json:"evidence"`
	Rules    string `json:"rules"`
	Time     string `json:"time"`
}

// Golden is a golden image.
type Golden struct {
	Name     string            `json:"name"`
	Owner    string            `json:"owner"`
	Contact  string            `json:"contact,omitempty"`
	Protect  bool              `json:"protect,omitempty"`
	From     string            `json:"from,omitempty"`
	Channels map[string]string `json:"channels"`
}

// Environment is an environment with its rules as stored.
type Environment struct {
	Name    string          `json:"name"`
	Owner   string          `json:"owner"`
	Contact string          `json:"contact,omitempty"`
	After   string          `json:"after,omitempty"`
	Admit   json.RawMessage `json:"admit"`
	Retain  json.RawMessage `json:"retain,omitempty"`
	OnFail  string          `json:"onFail"`
}

// Workload is an application in an environment.
type Workload struct {
	Name        string           `json:"name"`
	Owner       string           `json:"owner"`
	Contact     string           `json:"contact,omitempty"`
	Protect     bool             `json:"protect,omitempty"`
	Environment string           `json:"environment"`
	Image       WorkloadImage    `json:"image"`
	Nodes       []string         `json:"nodes,omitempty"`
	User        *int             `json:"user,omitempty"`
	Secrets     []WorkloadSecret `json:"secrets,omitempty"`
	OnChange    OnChange         `json:"onChange"`
}

// WorkloadImage names the line of images a workload runs.
type WorkloadImage struct {
	Golden  string `json:"golden"`
	Channel string `json:"channel"`
}

// WorkloadSecret is one secret a workload needs.
type WorkloadSecret struct {
	KV     string `json:"kv"`
	Mount  string `json:"mount"`
	Field  string `json:"field,omitempty"`
	File   string `json:"file,omitempty"`
	Env    string `json:"env,omitempty"`
	Format string `json:"format,omitempty"`
}

// OnChange says what a workload wants when a secret of its changes.
type OnChange struct {
	Signal         string `json:"signal,omitempty"`
	MaxUnavailable int    `json:"maxUnavailable,omitempty"`
}

// Instance is one running copy of a workload.
type Instance struct {
	ID          string    `json:"id"`
	Workload    string    `json:"workload"`
	Environment string    `json:"environment"`
	Owner       string    `json:"owner"`
	Node        string    `json:"node"`
	Image       string    `json:"image"`
	Kind        string    `json:"kind"`
	Container   string    `json:"container,omitempty"`
	UID         int       `json:"uid"`
	State       string    `json:"state"` // active, warned, revoked, gone
	Reason      string    `json:"reason,omitempty"`
	Until       time.Time `json:"until,omitzero"`
	Created     time.Time `json:"created"`
	Expires     time.Time `json:"expires"`
	SPIFFEID    string    `json:"spiffeId"`
	Serial      string    `json:"serial"`
	Revision    int64     `json:"revision"`
}

// AdmitRequest is an agent asking for an identity for a workload.
type AdmitRequest struct {
	Node     string          `json:"node"`
	Evidence json.RawMessage `json:"evidence"` // what the agent found out (docs/agent.md)
	CSR      string          `json:"csr"`      // PEM; only the key is used
}

// Grant is the identity a workload got.
type Grant struct {
	Instance    Instance         `json:"instance"`
	Token       string           `json:"token,omitempty"` // not after a renewal
	Certificate string           `json:"certificate"`     // PEM chain
	Bundle      string           `json:"bundle"`          // PEM
	Secrets     []WorkloadSecret `json:"secrets"`
	TTL         int              `json:"ttl"` // seconds
	OnChange    OnChange         `json:"onChange"`
}

// RenewRequest asks for a new certificate and a longer life.
type RenewRequest struct {
	Node  string `json:"node"`
	CSR   string `json:"csr"`
	Sight *Sight `json:"sight,omitempty"` // where the agent saw something new
}

// Sight is what an agent saw a workload do.
type Sight struct {
	Listening []Socket `json:"listening,omitempty"`
	Executed  []string `json:"executed,omitempty"` // files of the image it runs, or has mapped to run
	Partial   bool     `json:"partial,omitempty"`  // there was more
}

// Socket is a port a workload takes connections or datagrams at from outside.
type Socket struct {
	Port string `json:"port"`           // "8080/tcp"
	Path string `json:"path,omitempty"` // the program that holds it
}

// NodeChange is what changed for a node.
type NodeChange struct {
	Revision        int64      `json:"revision"`
	SecretsRevision int64      `json:"secretsRevision"`
	Instances       []Instance `json:"instances"`
}

// Change is one line of a plan.
type Change struct {
	Kind    string   `json:"kind"`
	Name    string   `json:"name"`
	Action  string   `json:"action"`           // create, update, delete, unchanged
	Fields  []string `json:"fields,omitempty"` // what an update changes: "spec.admit"
	Warning string   `json:"warning,omitempty"`
	File    string   `json:"file,omitempty"`
	Line    int      `json:"line,omitempty"`
}

// Document is one file of resources, for plan and apply.
type Document struct {
	File string `json:"file"`
	Text string `json:"text"`
}

// PlanRequest asks what documents would change; Apply makes it so.
type PlanRequest struct {
	Documents []Document `json:"documents"`
	Prune     bool       `json:"prune"`
}

// Plan is what would change, or what was changed.
type Plan struct {
	Changes []Change `json:"changes"`
}

// Triage is a decision on a finding. It is for an image, a golden image (and those
// built from it) or a workload: exactly one of them.
type Triage struct {
	ID            string    `json:"id"`
	Finding       string    `json:"finding"`                 // advisory id or alias
	Aliases       []string  `json:"aliases,omitempty"`       // other names of the same flaw
	Image         string    `json:"image,omitempty"`         // any digest
	Golden        string    `json:"golden,omitempty"`        // name
	Workload      string    `json:"workload,omitempty"`      // name
	Packages      []string  `json:"packages,omitempty"`      // names or package URLs; none: every package the flaw is in
	Status        string    `json:"status"`                  // not_affected, accepted, fixing
	Justification string    `json:"justification,omitempty"` // of not_affected: one of OpenVEX's
	Reason        string    `json:"reason"`
	Author        string    `json:"author,omitempty"`   // whose token it is; the server fills it in
	Imported      string    `json:"imported,omitempty"` // who brought a decision of Author's from elsewhere
	Expires       time.Time `json:"expires"`
	At            time.Time `json:"at,omitzero"`
}

// VEXImport is a VEX document with decisions on findings, and what it does not say.
type VEXImport struct {
	Document string    `json:"document"`           // OpenVEX, CycloneDX or CSAF, as text
	Expires  time.Time `json:"expires,omitzero"`   // for statements without an end of their own
	Image    string    `json:"image,omitempty"`    // for statements on products that are not known here; or
	Golden   string    `json:"golden,omitempty"`   // or
	Workload string    `json:"workload,omitempty"` //
	Try      bool      `json:"try,omitempty"`      // only say what would be taken
}

// VEXImported tells what became of each statement of a document.
type VEXImported struct {
	Document   string         `json:"document"`
	Statements []VEXStatement `json:"statements"`
}

// VEXStatement is one of them.
type VEXStatement struct {
	At     string   `json:"at"` // where it stands in the document
	Flaw   string   `json:"flaw"`
	Status string   `json:"status"`
	Triage []Triage `json:"triage,omitempty"` // what was made of it
	Why    string   `json:"why,omitempty"`    // nothing was, because
}

// Vendor is one whose VEX statements count.
type Vendor struct {
	Name       string     `json:"name"`
	Documents  int        `json:"documents"`
	Statements int        `json:"statements"`
	Newest     time.Time  `json:"newest"`
	Synced     time.Time  `json:"synced"`
	About      []string   `json:"about"`         // what it may speak of: beginnings of package URLs
	Try        *VendorTry `json:"try,omitempty"` // where the server fetches it on a schedule
}

// VendorTry is how the last attempt to fetch a vendor's documents went.
type VendorTry struct {
	Tried    time.Time `json:"tried,omitzero"`
	Next     time.Time `json:"next"`
	Failures int       `json:"failures,omitempty"` // in a row
	Error    string    `json:"error,omitempty"`
}

// VendorChange tells what an upload of a vendor's documents changed.
type VendorChange struct {
	Vendor        string   `json:"vendor"`
	Documents     int      `json:"documents"`
	Statements    int      `json:"statements"` // on one package each
	Added         int      `json:"added"`
	Removed       int      `json:"removed"`
	NotTaken      int      `json:"notTaken"` // statements that say nothing of a package
	NotTakenFirst []string `json:"notTakenFirst,omitempty"`
	Bad           int      `json:"bad"` // documents that could not be read
	BadFirst      []string `json:"badFirst,omitempty"`
	Images        int      `json:"images"` // judged again because of it
}

// FeedChange tells what an upload of advisories changed.
type FeedChange struct {
	Feed      string   `json:"feed"`
	Unchanged bool     `json:"unchanged"`
	Records   int      `json:"records"`
	Added     int      `json:"added"`
	Changed   int      `json:"changed"`
	Removed   int      `json:"removed"`
	Bad       []string `json:"bad,omitempty"` // records that could not be read
	Images    int      `json:"images"`        // judged again because of it
}

// Snapshot is the state of the server's advisory database.
type Snapshot struct {
	ID    string   `json:"id"`
	Feeds []Feed   `json:"feeds"`
	Try   *FeedTry `json:"try,omitempty"` // of the place feeds come from; nil: the server fetches none by itself
}

// FeedTry tells how the server's last attempt to take a feed by itself went.
type FeedTry struct {
	Tried    time.Time `json:"tried,omitzero"`
	Next     time.Time `json:"next"`
	Failures int       `json:"failures"`        // in a row
	Error    string    `json:"error,omitempty"` // of the last attempt
	Node     string    `json:"node,omitempty"`  // the server that is taking it now
}

// Advisory is one published vulnerability (OSV schema).
type Advisory struct {
	ID        string              `json:"id"`
	Aliases   []string            `json:"aliases,omitempty"`
	Upstream  []string            `json:"upstream,omitempty"` // the flaws it bundles
	Related   []string            `json:"related,omitempty"`  // other flaws
	Summary   string              `json:"summary,omitempty"`
	Published time.Time           `json:"published"`
	Modified  time.Time           `json:"modified"`
	Withdrawn time.Time           `json:"withdrawn,omitzero"`
	Learned   time.Time           `json:"learned"` // since when this database has it
	Severity  AdvisorySeverity    `json:"severity"`
	URL       string              `json:"url,omitempty"`
	Affected  []AdvisoryPackage   `json:"affected"`
	Scores    map[string]CVEScore `json:"scores,omitempty"` // by CVE
}

// AdvisorySeverity is what an advisory says of itself.
type AdvisorySeverity struct {
	Vectors []string `json:"vectors,omitempty"` // CVSS 2.0 to 4.0
	Score   float64  `json:"score"`             // 0: not stated
	Level   string   `json:"level"`
	Urgency string   `json:"urgency,omitempty"` // the distribution's own word
}

// AdvisoryPackage is a package an advisory speaks of.
type AdvisoryPackage struct {
	Ecosystem string          `json:"ecosystem"`
	Name      string          `json:"name"`
	Ranges    []AdvisoryRange `json:"ranges,omitempty"`
	Versions  []string        `json:"versions,omitempty"`
	Imports   []string        `json:"imports,omitempty"`
	Level     string          `json:"level,omitempty"`
	Urgency   string          `json:"urgency,omitempty"`
}

// AdvisoryRange is a list of events, in order.
type AdvisoryRange struct {
	Type   string          `json:"type"`
	Events []AdvisoryEvent `json:"events"`
}

// AdvisoryEvent has one field set.
type AdvisoryEvent struct {
	Introduced   string `json:"introduced,omitempty"`
	Fixed        string `json:"fixed,omitempty"`
	LastAffected string `json:"lastAffected,omitempty"`
	Limit        string `json:"limit,omitempty"`
}

// CVEScore is what is known of a CVE beside its advisories.
type CVEScore struct {
	Exploited  bool      `json:"exploited"`           // in CISA's catalogue
	Added      time.Time `json:"added,omitzero"`      // to the catalogue
	Due        time.Time `json:"due,omitzero"`        // until when CISA wants it gone
	Ransomware bool      `json:"ransomware"`          // known to be used by ransomware
	EPSS       float64   `json:"epss"`                // 0 to 1; 0: not stated
	Percentile float64   `json:"percentile,omitzero"` // of EPSS
	Vectors    []string  `json:"vectors,omitempty"`   // CVSS
}

// Feed is one advisory feed as last imported.
type Feed struct {
	Name    string    `json:"name"`
	Hash    string    `json:"hash"`
	Records int       `json:"records"`
	Newest  time.Time `json:"newest"`
	Synced  time.Time `json:"synced"`
	Bad     FeedBad   `json:"bad,omitzero"`
	Try     *FeedTry  `json:"try,omitempty"` // nil: the server does not fetch it
}

// FeedBad tells of the records of a feed that could not be read.
type FeedBad struct {
	Count int      `json:"count"`
	First []string `json:"first,omitempty"` // the first few, each with the reason
}

// NodeToken is the token of an agent.
type NodeToken struct {
	Node  string `json:"node"`
	Token string `json:"token"`
}

// AuditRecord is one record of the audit log, opened.
type AuditRecord struct {
	Seq    uint64          `json:"seq"`
	Time   time.Time       `json:"time"`
	Node   string          `json:"node"`
	Kind   string          `json:"kind"`
	ID     string          `json:"id"`
	Op     string          `json:"op"`
	Mount  string          `json:"mount,omitempty"`
	Actor  string          `json:"actor,omitempty"`
	Name   string          `json:"name,omitempty"`
	Remote string          `json:"remote,omitempty"`
	Answer string          `json:"answer,omitempty"`
	Reason string          `json:"reason,omitempty"`
	Detail json.RawMessage `json:"detail,omitempty"` // the sealed part
}

// SealStatus tells whether the server can reach its secrets.
type SealStatus struct {
	Type        string `json:"type"`
	Initialized bool   `json:"initialized"`
	Sealed      bool   `json:"sealed"`
	Threshold   int    `json:"t"`
	Shares      int    `json:"n"`
	Progress    int    `json:"progress"`
	Version     string `json:"version"`          // of the API of Vault that is spoken
	Goldkeep    string `json:"goldkeep_version"` // of the server
	ClusterID   string `json:"cluster_id,omitempty"`
	// RecoverySeal: the server unseals itself, and its shares are recovery keys.
	RecoverySeal bool `json:"recovery_seal"`
	// Migration: the seal waits to be turned into another kind.
	Migration bool `json:"migration"`
}

// AuditAnchor names the last record of an audit log.
type AuditAnchor struct {
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash"`
	Node string `json:"node"`
}

// Health is how a server is.
type Health struct {
	Initialized bool   `json:"initialized"`
	Sealed      bool   `json:"sealed"`
	Version     string `json:"version"`
	// Failing are parts without which nothing is answered, such as "audit".
	Failing []string `json:"failing,omitempty"`
	// FailingDevices are the audit devices that do not take records.
	FailingDevices []string `json:"failing_audit_devices,omitempty"`
}

// InitResult is what exists once, at initialization.
type InitResult struct {
	Keys    []string `json:"keys"`
	KeysB64 []string `json:"keys_base64"`
	// RecoveryB64 are the shares of the recovery key, where the server unseals itself.
	RecoveryB64 []string `json:"recovery_keys_base64,omitempty"`
	RootToken   string   `json:"root_token"`
}

// Layers names layers.
type Layers struct {
	Layers []Layer `json:"layers"`
}

// Layer is a layer with the blob it is stored as, each "sha256:" and 64 hex digits.
type Layer struct {
	DiffID string `json:"diffId"` // of the uncompressed tar, as the image's config has it
	Digest string `json:"digest"` // of the blob, as the image's manifest has it
}

// Check is a verdict with the evidence it was made from, both as JSON (the
// documents of "goldkeep check -o json", docs/check-json.md).
type Check struct {
	Evidence json.RawMessage `json:"evidence"`
	Verdict  json.RawMessage `json:"verdict"`
}
