// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// DefaultTTL is the system's default and largest lifetime of tokens and leases.
const DefaultTTL = 768 * time.Hour

// Mount says that an engine of some kind serves the paths below Path.
type Mount struct {
	Path        string            `json:"path"` // "secret/", "auth/token/": no leading, one trailing slash
	Kind        string            `json:"kind"` // "kv", "cubbyhole", "system", "token", ...
	Description string            `json:"description,omitempty"`
	UUID        string            `json:"uuid"`
	Accessor    string            `json:"accessor"` // "kv_1a2b3c4d"
	Options     map[string]string `json:"options"`  // nil and empty are told apart: clients see which was sent
	Local       bool              `json:"local,omitempty"`
	SealWrap    bool              `json:"seal_wrap,omitempty"`
	Config      MountConfig       `json:"config"`
	System      Lifetimes         `json:"-"`                   // the server's own
	Namespace   *Namespace        `json:"namespace,omitempty"` // it leads to one; nil: to an engine
}

// MountConfig is what can be tuned on a mount. The zero value means: as the
// system does.
type MountConfig struct {
	DefaultTTL   time.Duration `json:"default_ttl,omitempty"`
	MaxTTL       time.Duration `json:"max_ttl,omitempty"`
	ForceNoCache bool          `json:"force_no_cache,omitempty"`
	Listing      string        `json:"listing,omitempty"` // "unauth", "hidden" or ""
	TokenType    string        `json:"token_type,omitempty"`

	// What clients set and want to see again: there is nothing to be done about it.
	// The audit blinds every value, engines see no headers, and send those they choose.
	AuditRequest    []string       `json:"audit_request,omitempty"`
	AuditResponse   []string       `json:"audit_response,omitempty"`
	RequestHeaders  []string       `json:"request_headers,omitempty"`
	ResponseHeaders []string       `json:"response_headers,omitempty"`
	PluginVersion   string         `json:"plugin_version,omitempty"`
	UserLockout     *LockoutConfig `json:"lockout,omitempty"` // of auth methods with passwords; nil: as usual
}

// Auth reports whether the mount is an auth method.
func (m Mount) Auth() bool { return strings.HasPrefix(m.Path, "auth/") }

// DefaultTTL is the lifetime given where nobody asked for another.
func (m Mount) DefaultTTL() time.Duration {
	return orDefault(m.Config.DefaultTTL, m.System.Default, m.System.Max)
}

// MaxTTL is the longest lifetime the mount gives.
func (m Mount) MaxTTL() time.Duration { return orDefault(m.Config.MaxTTL, m.System.Max) }

func orDefault(choices ...time.Duration) time.Duration {
	for _, d := range choices {
		if d != 0 {
			return d
		}
	}
	return DefaultTTL
}

// Lifetimes are the server's own defaults; 0: DefaultTTL.
type Lifetimes struct{ Default, Max time.Duration }

// Slot is a mount with the engine that serves it.
type Slot struct {
	Mount   Mount
	Engine  Engine
	Special Special
	Fixed   bool // always there: cannot be unmounted
}

// Kind makes the engine of a mount; the space is the mount's own.
type Kind func(Mount, barrier.Space) Engine

// Mounts is the mount table. It is kept in sealed space. Fixed mounts are always
// there, also while sealed; the others are read on first use.
//
// A change is visible to every request that begins after it was answered: on
// this node because the table is replaced before the answer, on other nodes
// because, unless the store is exclusive to this process, every look-up reads
// the table's version (one small entry) and the table where it changed.
type Mounts struct {
	System Lifetimes            // set before the first request
	Taken  func(id string) bool // whether a namespace above has an id; nil: none has

	space     barrier.Space
	kinds     map[string]Kind
	exclusive bool
	fixed     map[string]*Slot
	build     func(Mount) *Realm // see NestIn; nil: there are no namespaces below

	change sync.Mutex // held while the table changes or is read anew
	table  atomic.Pointer[table]
	realms map[string]*Realm // by UUID; guarded by change
}

type table struct {
	version string
	slots   map[string]*Slot
	realms  map[string]nested // namespaces, by their paths
	closed  bool              // the namespace is to go
}

// NewMounts makes a mount table in a space. exclusive says that no other
// process changes the store (store.Store.Exclusive). The kinds of auth methods are
// named "auth/approle" and so on: they mount below auth/ only, the others elsewhere.
func NewMounts(space barrier.Space, kinds map[string]Kind, exclusive bool) *Mounts {
	return &Mounts{space: space, kinds: kinds, exclusive: exclusive, fixed: map[string]*Slot{}, realms: map[string]*Realm{}}
}

// Fix adds a mount that is always there. Only for the wiring, before the first
// request. The accessor is the same on every node.
func (m *Mounts) Fix(path, kind, description string, e Engine) {
	sum := sha256.Sum256([]byte("fixed mount " + kind))
	mount := Mount{Path: path, Kind: kind, Description: description, UUID: dashed(sum[:16]), Accessor: FixedAccessor(path, kind), System: m.System}
	switch kind { // as clients know them
	case "cubbyhole":
		mount.Local = true
	case "identity":
		mount.Config.RequestHeaders = []string{"Authorization"}
	case "system":
		mount.SealWrap, mount.Config.RequestHeaders = true, []string{"Accept"}
	}
	m.fixed[path] = &Slot{Mount: mount, Engine: e, Special: e.Special(), Fixed: true}
}

// FixedAccessor is the accessor of the fixed mount at a path: "auth_token_1a2b3c4d".
func FixedAccessor(path, kind string) string {
	sum := sha256.Sum256([]byte("fixed accessor " + path))
	return accessorName(path, kind) + hex.EncodeToString(sum[:4])
}

func accessorName(path, kind string) string {
	if strings.HasPrefix(path, "auth/") {
		return "auth_" + kind + "_"
	}
	return kind + "_"
}

// Fixed reports whether the mount at a path is always there.
func (m *Mounts) Fixed(path string) bool { return m.fixed[slashed(path)] != nil }

// Resolve finds the mount that serves a path, and the path below it. Where
// there is none the slot is nil. While sealed, only fixed mounts are found; any
// other path is fault.Sealed.
func (m *Mounts) Resolve(ctx context.Context, path string) (*Slot, string, error) {
	if slot, rest := longest(m.fixed, path); slot != nil {
		return slot, rest, nil
	}
	t, err := m.current(ctx)
	if err != nil {
		return nil, "", err
	}
	slot, rest := longest(t.slots, path)
	return slot, rest, nil
}

// longest finds the slot with the longest path that begins the given one.
func longest(slots map[string]*Slot, path string) (*Slot, string) {
	for end := strings.LastIndexByte(path, '/'); end >= 0; end = strings.LastIndexByte(path[:end], '/') {
		if slot := slots[path[:end+1]]; slot != nil {
			return slot, path[end+1:]
		}
	}
	return nil, ""
}

// Get returns the mount at exactly this path, or nil.
func (m *Mounts) Get(ctx context.Context, path string) (*Mount, error) {
	slot, err := m.Slot(ctx, path)
	if err != nil || slot == nil {
		return nil, err
	}
	mount := slot.Mount
	return &mount, nil
}

// Slot returns the mount at exactly this path with its engine, or nil.
func (m *Mounts) Slot(ctx context.Context, path string) (*Slot, error) {
	slot, rest, err := m.Resolve(ctx, slashed(path))
	if err != nil || slot == nil || rest != "" {
		return nil, err
	}
	return slot, nil
}

// Named returns the mount with a UUID, whatever its path is now, or nil.
func (m *Mounts) Named(ctx context.Context, uuid string) (*Slot, error) {
	t, err := m.current(ctx)
	if err != nil {
		return nil, err
	}
	for _, slot := range t.slots {
		if slot.Mount.UUID == uuid {
			return slot, nil
		}
	}
	return nil, nil
}

// List returns all mounts, sorted by path.
func (m *Mounts) List(ctx context.Context) ([]Mount, error) {
	slots, err := m.Slots(ctx)
	if err != nil {
		return nil, err
	}
	var all []Mount
	for _, slot := range slots {
		all = append(all, slot.Mount)
	}
	return all, nil
}

// Slots returns all mounts with their engines, sorted by path.
func (m *Mounts) Slots(ctx context.Context) ([]*Slot, error) {
	t, err := m.current(ctx)
	if err != nil {
		return nil, err
	}
	all := slices.AppendSeq(slices.Collect(maps.Values(m.fixed)), maps.Values(t.slots))
	slices.SortFunc(all, func(a, b *Slot) int { return strings.Compare(a.Mount.Path, b.Mount.Path) })
	return all, nil
}

// Kinds names the kinds of engine there are, those of auth methods with "auth/"
// before them, sorted.
func (m *Mounts) Kinds() []string { return slices.Sorted(maps.Keys(m.kinds)) }

// Add mounts an engine; it serves requests when Add returns. A path in use (or
// above or below one) and an unknown kind are fault.Invalid.
func (m *Mounts) Add(ctx context.Context, mount Mount) error {
	mount.Path = slashed(mount.Path)
	mount.UUID = randomUUID()
	mount.Accessor = accessorName(mount.Path, mount.Kind) + randomHex(4)
	return m.edit(ctx, func(list map[string]Mount) error {
		if used := m.inUse(list, mount.Path); used != "" {
			return fault.New(fault.Invalid, "path is already in use at %s", strings.TrimPrefix(used, "auth/"))
		}
		if m.kinds[mount.kind()] == nil {
			return fault.New(fault.Invalid, "plugin not found in the catalog: %s", mount.Kind).WithHint("there are %s", strings.Join(m.Kinds(), ", "))
		}
		list[mount.Path] = mount
		return nil
	})
}

// Tune changes what can be changed on a mount. fn may run more than once.
func (m *Mounts) Tune(ctx context.Context, path string, fn func(*Mount) error) error {
	path = slashed(path)
	return m.edit(ctx, func(list map[string]Mount) error {
		mount, ok := list[path]
		if !ok && m.fixed[path] != nil {
			return fault.New(fault.Invalid, "cannot tune %q", path)
		}
		if !ok || mount.Namespace != nil {
			return fault.New(fault.Invalid, "tune of path %q failed: no mount entry found", path)
		}
		if err := fn(&mount); err != nil {
			return err
		}
		list[path] = mount
		return nil
	})
}

// Remove unmounts an engine and then removes everything it kept. Removing
// nothing is fine; a fixed mount is fault.Invalid. The caller has revoked the
// mount's leases.
func (m *Mounts) Remove(ctx context.Context, path string) error {
	path = slashed(path)
	if m.fixed[path] != nil {
		return fault.New(fault.Invalid, "cannot unmount %q", path)
	}
	gone := ""
	err := m.edit(ctx, func(list map[string]Mount) error {
		gone = ""
		if list[path].Namespace != nil {
			return fault.New(fault.Invalid, "%s is a namespace: it is deleted at sys/namespaces", path)
		}
		gone = list[path].UUID
		delete(list, path)
		return nil
	})
	if err != nil || gone == "" {
		return err
	}
	return m.space.Update(ctx, func(w barrier.Writer) error { return w.DeleteTree(ctx, dataDir+gone) })
}

// Move gives a mount another path; its data and leases stay.
func (m *Mounts) Move(ctx context.Context, from, to string) error {
	from, to = slashed(from), slashed(to)
	return m.edit(ctx, func(list map[string]Mount) error {
		mount, ok := list[from]
		if !ok || mount.Namespace != nil {
			return fault.New(fault.Invalid, "no matching mount at %q", from)
		}
		if used := m.inUse(list, to); used != "" {
			return fault.New(fault.Invalid, "path already in use at %q", used)
		}
		delete(list, from)
		mount.Path = to
		list[to] = mount
		return nil
	})
}

// Forget drops what is held in memory, also of the namespaces below, after sealing
// or restoring.
func (m *Mounts) Forget() {
	t := m.table.Swap(nil)
	if t == nil {
		return
	}
	for _, below := range t.realms {
		if below.realm != nil {
			below.realm.Mounts.Forget()
		}
	}
}

// inUse names the mount that a new one would shadow or be shadowed by.
func (m *Mounts) inUse(list map[string]Mount, path string) string {
	if _, closed := list[closedAt]; closed {
		return "a namespace that is being deleted"
	}
	for _, used := range slices.Concat(slices.Collect(maps.Keys(list)), slices.Collect(maps.Keys(m.fixed))) {
		if strings.HasPrefix(used, path) || strings.HasPrefix(path, used) {
			return used
		}
	}
	return ""
}

func slashed(path string) string {
	path = strings.Trim(path, "/")
	if path == "" {
		return ""
	}
	return path + "/"
}

func randomUUID() string { return dashed(randomBytes(16)) }

// dashed writes 16 bytes as UUIDs are written.
func dashed(b []byte) string {
	s := hex.EncodeToString(b)
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

func randomHex(n int) string { return hex.EncodeToString(randomBytes(n)) }

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails: see crypto/rand
	return b
}

// Where the table and the mounts' data are kept.
const (
	tableAt   = "table"
	versionAt = "version"
	dataDir   = "data/"
)

// current returns the table as it is now.
func (m *Mounts) current(ctx context.Context) (*table, error) {
	t := m.table.Load()
	if t != nil && m.exclusive {
		return t, nil
	}
	if t != nil {
		version := ""
		err := m.space.View(ctx, func(r barrier.Reader) (err error) {
			version, err = readVersion(ctx, r)
			return err
		})
		if err != nil || version == t.version {
			return t, err
		}
	}
	m.change.Lock()
	defer m.change.Unlock()
	return m.load(ctx)
}

func (m *Mounts) load(ctx context.Context) (*table, error) {
	var list map[string]Mount
	version := ""
	err := m.space.View(ctx, func(r barrier.Reader) (err error) {
		if version, err = readVersion(ctx, r); err != nil {
			return err
		}
		list, err = readTable(ctx, r)
		return err
	})
	if err != nil {
		return nil, err
	}
	return m.install(version, list), nil
}

// edit changes the table in one transaction and then for every new request.
func (m *Mounts) edit(ctx context.Context, fn func(map[string]Mount) error) error {
	m.change.Lock()
	defer m.change.Unlock()
	version := randomHex(8)
	var list map[string]Mount
	err := m.space.Update(ctx, func(w barrier.Writer) (err error) {
		if list, err = readTable(ctx, w); err != nil {
			return err
		}
		if err = fn(list); err != nil {
			return err
		}
		raw, err := json.Marshal(list)
		if err != nil {
			return err
		}
		if err = w.Put(ctx, barrier.Entry{Path: tableAt, Value: raw}); err != nil {
			return err
		}
		return w.Put(ctx, barrier.Entry{Path: versionAt, Value: []byte(version)})
	})
	if err == nil {
		m.install(version, list)
	}
	return err
}

// install makes the engines of a table. Those whose mount did not change stay.
func (m *Mounts) install(version string, list map[string]Mount) *table {
	t := &table{version: version, slots: make(map[string]*Slot, len(list)), realms: map[string]nested{}}
	old := m.table.Load()
	for path, mount := range list {
		if path == closedAt {
			t.closed = true
			continue
		}
		if mount.Namespace != nil {
			t.realms[path] = nested{mount, m.realm(mount)}
			continue
		}
		mount.System = m.System
		if old != nil && old.slots[path] != nil && old.slots[path].Mount.same(mount) {
			t.slots[path] = old.slots[path]
			continue
		}
		e := m.engine(mount)
		t.slots[path] = &Slot{Mount: mount, Engine: e, Special: e.Special()}
	}
	maps.DeleteFunc(m.realms, func(_ string, r *Realm) bool { return t.realms[slashed(r.name())].realm != r })
	m.table.Store(t)
	return t
}

// kind is the name a mount's kind has in the list of kinds: those of auth methods
// begin with "auth/".
func (m Mount) kind() string {
	if m.Auth() {
		return "auth/" + m.Kind
	}
	return m.Kind
}

func (m *Mounts) engine(mount Mount) Engine {
	build := m.kinds[mount.kind()]
	if build == nil {
		return absent{mount.Kind}
	}
	return build(mount, m.space.Sub(dataDir+mount.UUID))
}

func (m Mount) same(o Mount) bool { return reflect.DeepEqual(m, o) }

func readVersion(ctx context.Context, r barrier.Reader) (string, error) {
	e, err := r.Get(ctx, versionAt)
	if err != nil || e == nil {
		return "", err
	}
	return string(e.Value), nil
}

func readTable(ctx context.Context, r barrier.Reader) (map[string]Mount, error) {
	list := map[string]Mount{}
	e, err := r.Get(ctx, tableAt)
	if err != nil || e == nil {
		return list, err
	}
	return list, json.Unmarshal(e.Value, &list)
}

// absent serves a mount whose kind this version does not have: it can be seen
// and removed, not used.
type absent struct{ kind string }

func (a absent) Handle(context.Context, *Request) (*Response, error) {
	return nil, fault.New(fault.Unavailable, "this server has no engine of type %q", a.kind)
}
func (absent) Exists(context.Context, string) (bool, error) { return true, nil }
func (absent) Special() Special                             { return Special{} }
