// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package seal serves the paths of sys/ that have to do with the server's keys:
// initializing, sealing and unsealing it, and what the holders of key shares do
// together: new shares, a new root token. It is a part of engine/sys.
package seal

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/auth"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/policy"
)

// Barrier is what the engine asks of package barrier.
type Barrier interface {
	Status(ctx context.Context) (barrier.Status, error)
	Init(ctx context.Context, o barrier.InitOptions) (barrier.InitResult, error)
	Unwrap(ctx context.Context) error
	SubmitShare(ctx context.Context, share []byte) (barrier.Status, error)
	SubmitTurn(ctx context.Context, share []byte) (barrier.Status, error)
	ResetShares()
	Seal()
	Sealed() bool
}

// Keys is what the engine asks of package barrier about its keys.
type Keys interface {
	KeyStatus() (barrier.KeyStatus, error)
	Rotate(ctx context.Context) error
	Prove(ctx context.Context, shares [][]byte) error
	Install(ctx context.Context, c *barrier.Candidate) error
	InstallRecovery(ctx context.Context, c *barrier.Candidate) error
	RotateRoot(ctx context.Context) error
}

// Tokens is what the engine asks of package auth.
type Tokens interface {
	Create(ctx context.Context, n auth.NewToken) (*auth.Granted, error)
}

// Options are the parts the engine is made of. All are needed but those that may be nil.
type Options struct {
	Barrier        Barrier
	Keys           Keys
	Tokens         Tokens
	Space          barrier.Space   // the one of sys
	Version        string          // Goldkeep's own: strict SemVer
	Built          string          // RFC 3339
	Storage        string          // "sqlite", "postgresql"
	Failing        func() []string // parts that do not work, such as "audit"; nil: none known
	FailingDevices func() []string // the audit devices that do not take records; nil: none
	Room           func() error    // whether there is room for changes; nil: there is
	OnSeal         func()          // told after sealing

	// Whoever reaches the server can begin and stop what these paths do, without a
	// token. Both are off in OpenBao too.
	LegacyRekey bool // sys/rekey
	LegacyRoot  bool // sys/generate-root
}

// Engine serves its part of "sys/".
type Engine struct {
	o        Options
	rekey    rekey
	recovery rekey
	root     rootAttempt
}

// New makes the engine.
func New(o Options) *Engine { return &Engine{o: o, recovery: rekey{recovery: true}} }

// Special implements sys.Part.
func (e *Engine) Special() engine.Special {
	atRest := []string{"init", "seal-status", "unseal", "health"}
	open := slices.Clone(atRest)
	if e.o.LegacyRekey {
		for _, folder := range []string{"rekey/", "rekey-recovery-key/"} {
			open = append(open, folder+"init", folder+"update", folder+"verify")
		}
	}
	if e.o.LegacyRoot {
		open = append(open, "generate-root/*")
	}
	return engine.Special{
		Open: open, Sealed: atRest,
		Pure:   []string{"init", "seal-status", "health", "key-status", "rotate/*", "rekey/*", "generate-root/*", "generate-root-token/*"},
		Sudo:   []string{"seal", "rotate", "rotate/*", "generate-root-token/*", "rekey/backup", "rekey/recovery-key-backup", "rekey/recovery-backup"},
		Routes: slices.Concat(e.sealRoutes(), e.rotateRoutes(), e.rekeyRoutes(), e.rootRoutes()),
	}
}

func (e *Engine) sealRoutes() []engine.Route {
	return []engine.Route{
		{
			Path: "init", Help: "Makes the keys and the first root token, once.",
			Takes: "secret_shares:integer secret_threshold:integer pgp_keys:list root_token_pgp_key recovery_shares:integer recovery_threshold:integer recovery_pgp_keys:list stored_shares:integer",
			Ops:   engine.Ops{Read: e.initialized, Write: e.initialize},
		},
		{Path: "seal-status", Help: "Whether the server is sealed, and how far unsealing is.", Ops: engine.Ops{Read: e.sealStatus}},
		{Path: "unseal", Help: "Takes one key share.", Takes: "key reset:boolean migrate:boolean", Ops: engine.Ops{Write: e.unseal}},
		{Path: "seal", Help: "Forgets the keys until somebody unseals.", Ops: engine.Ops{Write: e.seal}},
		{Path: "health", Help: "How the server is, by its status code.", Takes: "standbyok:boolean perfstandbyok:boolean activecode:integer standbycode:integer sealedcode:integer uninitcode:integer", Ops: engine.Ops{Read: e.health}},
	}
}

func bare(data any) *engine.Response { return &engine.Response{Data: data, Bare: true} }

func (e *Engine) initialized(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	st, err := e.o.Barrier.Status(ctx)
	if err != nil {
		return nil, err
	}
	return bare(map[string]bool{"initialized": st.Initialized}), nil
}

// initAnswer is what sys/init hands out, once.
type initAnswer struct {
	Keys       []string `json:"keys"`
	KeysBase64 []string `json:"keys_base64"`
	RootToken  string   `json:"root_token"`
	// Of a server that unseals itself.
	Recovery       []string `json:"recovery_keys,omitempty"`
	RecoveryBase64 []string `json:"recovery_keys_base64,omitempty"`
}

func (e *Engine) initialize(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	o := barrier.InitOptions{Shares: f.Int("secret_shares", 0), Threshold: f.Int("secret_threshold", 0)}
	if f.Err() != nil {
		return nil, f.Err()
	}
	st, err := e.o.Barrier.Status(ctx)
	if err != nil {
		return nil, err
	}
	if st.Initialized {
		return nil, fault.New(fault.Invalid, "Vault is already initialized")
	}
	if st.Type != barrier.Shamir {
		return e.initializeWrapped(ctx, req, st.Type)
	}
	if f.Int("recovery_shares", 0) > 0 || f.Int("recovery_threshold", 0) > 0 {
		return nil, fault.New(fault.Invalid, "parameters recovery_shares, recovery_threshold not applicable to seal type shamir")
	}
	switch { // before any key of somebody's is read
	case o.Shares == 0:
		return nil, fault.New(fault.Invalid, "invalid seal configuration: shares must be at least one")
	case o.Threshold == 0:
		return nil, fault.New(fault.Invalid, "invalid seal configuration: threshold must be at least one")
	}
	holders, err := readHolders(f.List("pgp_keys"), o.Shares, req.Now)
	if err != nil {
		return nil, err
	}
	rootHolder, err := rootFor(f, "root_token_pgp_key", req.Now)
	if err != nil {
		return nil, err
	}
	shares, root, err := Initialize(ctx, e.o.Barrier, e.o.Tokens, o)
	if err != nil {
		return nil, err
	}
	answer := initAnswer{}
	if answer.RootToken, err = rootHolder.sealToken(root); err != nil {
		return nil, err
	}
	answer.Keys, answer.KeysBase64, err = handOut(shares, holders)
	return bare(answer), err
}

// initializeWrapped initializes a server whose root key is sealed elsewhere. It
// is unsealed afterwards.
func (e *Engine) initializeWrapped(ctx context.Context, req *engine.Request, kind string) (*engine.Response, error) {
	f := engine.Read(req)
	o := barrier.InitOptions{
		Shares: f.Int("secret_shares", 0), Threshold: f.Int("secret_threshold", 0),
		RecoveryShares: f.Int("recovery_shares", 0), RecoveryThreshold: f.Int("recovery_threshold", 0),
	}
	switch {
	case f.Err() != nil:
		return nil, f.Err()
	case o.Shares != 0 || o.Threshold != 0:
		return nil, fault.New(fault.Invalid, "parameters secret_shares,secret_threshold not applicable to seal type %s", kind)
	case o.RecoveryShares == 0 || o.RecoveryThreshold == 0:
		return nil, fault.New(fault.Invalid, "recovery_shares and recovery_threshold must be from 1 to 255")
	}
	holders, err := readHolders(f.List("recovery_pgp_keys"), o.RecoveryShares, req.Now)
	if err != nil {
		return nil, err
	}
	rootHolder, err := rootFor(f, "root_token_pgp_key", req.Now)
	if err != nil {
		return nil, err
	}
	result, err := e.o.Barrier.Init(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := e.o.Barrier.Unwrap(ctx); err != nil {
		return nil, err
	}
	answer := initAnswer{Keys: []string{}, KeysBase64: []string{}}
	root, err := RootToken(ctx, e.o.Tokens, "")
	if err != nil {
		return nil, err
	}
	if answer.RootToken, err = rootHolder.sealToken(root); err != nil {
		return nil, err
	}
	answer.Recovery, answer.RecoveryBase64, err = handOut(result.Recovery, holders)
	return bare(answer), err
}

// Initialize makes the keys, split into shares, and the first root token. The
// barrier is sealed again afterwards.
func Initialize(ctx context.Context, b Barrier, tokens Tokens, o barrier.InitOptions) (shares [][]byte, root string, err error) {
	result, err := b.Init(ctx, o)
	if err != nil {
		return nil, "", err
	}
	for _, share := range result.Shares[:o.Threshold] {
		if _, err := b.SubmitShare(ctx, share); err != nil {
			return nil, "", err
		}
	}
	defer b.Seal()
	root, err = RootToken(ctx, tokens, "")
	return result.Shares, root, err
}

// RootToken makes a token that may do everything and does not expire. id is ""
// for a random one.
func RootToken(ctx context.Context, tokens Tokens, id string) (string, error) {
	n := auth.NewToken{ID: id, Policies: []string{policy.RootName}, Display: "root", Path: "auth/token/root", NoDefault: true}
	if id != "" { // somebody's own, as if they had made it
		n.Display, n.Path = "token", "auth/token/create"
	}
	granted, err := tokens.Create(ctx, n)
	if err != nil {
		return "", err
	}
	return granted.Token, nil
}

// sealStatus is the answer of seal-status and unseal.
type sealStatus struct {
	Type         string `json:"type"`
	Initialized  bool   `json:"initialized"`
	Sealed       bool   `json:"sealed"`
	T            int    `json:"t"`
	N            int    `json:"n"`
	Progress     int    `json:"progress"`
	Nonce        string `json:"nonce"`
	Version      string `json:"version"`
	Own          string `json:"goldkeep_version"`
	BuildDate    string `json:"build_date"`
	CommitDate   string `json:"commit_date"`
	Migration    bool   `json:"migration"`
	RecoverySeal bool   `json:"recovery_seal"`
	StorageType  string `json:"storage_type"`
	ClusterName  string `json:"cluster_name,omitempty"`
	ClusterID    string `json:"cluster_id,omitempty"`
}

func (e *Engine) status(st barrier.Status) *engine.Response {
	s := sealStatus{
		Type: st.Type, Initialized: st.Initialized, Sealed: st.Sealed, T: st.Threshold, N: st.Shares,
		Progress: st.Progress, Nonce: st.Nonce, Version: engine.APIVersion, Own: e.o.Version, BuildDate: e.o.Built, CommitDate: e.o.Built,
		Migration: st.Turns, RecoverySeal: st.Type != barrier.Shamir, StorageType: e.o.Storage,
	}
	if !st.Sealed {
		s.ClusterName, s.ClusterID = clusterName(st), st.ClusterID
	}
	return bare(s)
}

func clusterName(st barrier.Status) string {
	return "goldkeep-" + st.ClusterID[:min(8, len(st.ClusterID))]
}

func (e *Engine) sealStatus(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	st, err := e.o.Barrier.Status(ctx)
	if err != nil {
		return nil, err
	}
	return e.status(st), nil
}

func (e *Engine) unseal(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(lowerCased(req))
	key, reset, migrate := f.Text("key"), f.Bool("reset", false), f.Bool("migrate", false)
	if f.Err() != nil {
		return nil, f.Err()
	}
	if reset && !e.o.Barrier.Sealed() {
		return nil, fault.New(fault.Invalid, "vault is unsealed")
	}
	if reset {
		e.o.Barrier.ResetShares()
		return e.sealStatus(ctx, req, nil)
	}
	if key == "" {
		return nil, fault.New(fault.Invalid, "'key' must be specified in request body as JSON, or 'reset' set to true")
	}
	share, err := decodeShare(key)
	if err != nil {
		return nil, err
	}
	submit := e.o.Barrier.SubmitShare
	if migrate {
		submit = e.o.Barrier.SubmitTurn
	}
	st, err := submit(ctx, share)
	if err != nil {
		return nil, err
	}
	return e.status(st), nil
}

// lowerCased gives the fields of a request whose names clients send in any case.
func lowerCased(req *engine.Request) *engine.Request {
	lower := &engine.Request{Data: map[string]json.RawMessage{}}
	for name, value := range req.Data {
		lower.Data[strings.ToLower(name)] = value
	}
	return lower
}

// decodeShare reads a share in hex or base64.
func decodeShare(text string) ([]byte, error) {
	if share, err := hex.DecodeString(text); err == nil {
		return share, nil
	}
	share, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fault.New(fault.Invalid, "'key' must be a valid hex or base64 string")
	}
	return share, nil
}

func (e *Engine) seal(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
	e.o.Barrier.Seal()
	e.forgetCeremonies()
	e.o.OnSeal()
	return nil, nil
}

// healthAnswer is the answer of health.
type healthAnswer struct {
	Initialized   bool     `json:"initialized"`
	Sealed        bool     `json:"sealed"`
	Standby       bool     `json:"standby"`
	ServerTimeUTC int64    `json:"server_time_utc"`
	Version       string   `json:"version"`
	Own           string   `json:"goldkeep_version"`
	ClusterName   string   `json:"cluster_name,omitempty"`
	ClusterID     string   `json:"cluster_id,omitempty"`
	Failing       []string `json:"failing,omitempty"` // parts that do not work
	// FailingDevices are the audit devices behind the log; that stops nothing.
	FailingDevices []string `json:"failing_audit_devices,omitempty"`
	// Refuses is why changes are refused while reads go on: the disk is nearly full.
	Refuses string `json:"refuses_changes,omitempty"`
}

// health says with its status code how things stand; the query can set other
// codes.
func (e *Engine) health(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	st, err := e.o.Barrier.Status(ctx)
	if err != nil {
		return nil, err
	}
	answer := healthAnswer{Initialized: st.Initialized, Sealed: st.Sealed, ServerTimeUTC: req.Now.Unix(), Version: engine.APIVersion, Own: e.o.Version}
	if e.o.Failing != nil {
		answer.Failing = e.o.Failing()
	}
	if e.o.FailingDevices != nil {
		answer.FailingDevices = e.o.FailingDevices()
	}
	if e.o.Room != nil {
		if err := e.o.Room(); err != nil {
			answer.Refuses = fault.Public(err)
		}
	}
	field, code := "activecode", 200
	switch {
	case !st.Initialized:
		field, code = "uninitcode", 501
	case st.Sealed:
		field, code = "sealedcode", 503
	default:
		answer.ClusterName, answer.ClusterID = clusterName(st), st.ClusterID
		if len(answer.Failing) > 0 {
			code = 500
		}
	}
	f := engine.Read(req)
	code = f.Int(field, code)
	if f.Err() != nil || code < 200 || code > 599 {
		return nil, fault.New(fault.Invalid, "%s must be a status code from 200 to 599", field)
	}
	return &engine.Response{Status: code, Data: answer, Bare: true}, nil
}
