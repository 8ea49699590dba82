// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// Namespace is what a mount is that leads to a namespace of its own. It stands in the
// table of mounts of the namespace above: so its name can be no mount's, and what
// changes the one is seen as the other is.
type Namespace struct {
	ID       string            `json:"id"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Going    bool              `json:"going,omitempty"` // being deleted: nobody reaches it any more
}

// namespaceKind is the kind of these mounts; no engine has it.
const namespaceKind = "namespace"

// nested is a namespace in a table of mounts.
type nested struct {
	mount Mount
	realm *Realm
}

// NestIn says how the namespaces below this table's are made: kept is what the table
// says of one. Only for the wiring, before the first request.
func (m *Mounts) NestIn(build func(kept Mount) *Realm) { m.build = build }

// Namespaces are the mounts that lead to namespaces, sorted by path; those too that are
// being deleted.
func (m *Mounts) Namespaces(ctx context.Context) ([]Mount, error) {
	t, err := m.current(ctx)
	if err != nil {
		return nil, err
	}
	var all []Mount
	for _, path := range slices.Sorted(maps.Keys(t.realms)) {
		all = append(all, t.realms[path].mount)
	}
	return all, nil
}

// inner is the namespace that a path begins with, and the path within; nil where it
// begins with none.
func (m *Mounts) inner(ctx context.Context, path string) (*Realm, string, error) {
	name, rest, ok := strings.Cut(path, "/")
	if !ok {
		return nil, "", nil
	}
	if slot, _ := longest(m.fixed, path); slot != nil {
		return nil, "", nil
	}
	t, err := m.current(ctx)
	if err != nil || len(t.realms) == 0 {
		return nil, "", err
	}
	found := t.realms[name+"/"]
	if found.realm == nil || found.mount.Namespace.Going {
		return nil, "", nil
	}
	return found.realm, rest, nil
}

// PutNamespace makes a namespace of one plain segment below this table's, or changes what people say of one:
// change gets what they said so far. It reports whether there was none before; made
// false makes none, and one that is not there is nil.
func (m *Mounts) PutNamespace(ctx context.Context, name string, makes bool, change func(map[string]string) (map[string]string, error)) (*Mount, error) {
	path := slashed(name)
	var put *Mount
	err := m.edit(ctx, func(list map[string]Mount) error {
		put = nil
		mount, there := list[path]
		switch {
		case there && mount.Namespace == nil || !there && makes && m.inUse(list, path) != "":
			return fault.New(fault.Invalid, "new namespace conflicts with existing mount: %s", path)
		case there && mount.Namespace.Going:
			return fault.New(fault.Invalid, "namespace with that name exists and is currently tainted").WithHint("it is being deleted: wait until it is gone")
		case !there && !makes:
			return nil
		case !there:
			mount = Mount{Path: path, Kind: namespaceKind, UUID: randomHex(16), Namespace: &Namespace{ID: m.freshID(list)}}
		}
		said, err := change(maps.Clone(mount.Namespace.Metadata))
		if err != nil {
			return err
		}
		changed := *mount.Namespace
		changed.Metadata = said
		mount.Namespace = &changed
		list[path] = mount
		put = &mount
		return nil
	})
	return put, err
}

// close refuses all later mounts, and namespaces, of a table whose namespace is to go.
func (m *Mounts) close(ctx context.Context, path string) error {
	return m.edit(ctx, func(list map[string]Mount) error {
		for _, mount := range list {
			if mount.Namespace != nil {
				return fault.New(fault.Invalid, "cannot delete namespace (%q) containing child namespaces", path).WithHint("delete those first")
			}
		}
		list[closedAt] = Mount{Path: closedAt}
		return nil
	})
}

// closedAt is no path: it stands in the table of a namespace that is to go.
const closedAt = ""

func (m *Mounts) taint(ctx context.Context, uuid string) error {
	return m.edit(ctx, func(list map[string]Mount) error {
		for path, mount := range list {
			if mount.Namespace == nil || mount.UUID != uuid {
				continue
			}
			going := *mount.Namespace
			going.Going = true
			mount.Namespace = &going
			list[path] = mount
		}
		return nil
	})
}

// DropNamespace strikes a namespace off that has been cleared away.
func (m *Mounts) DropNamespace(ctx context.Context, uuid string) error {
	return m.edit(ctx, func(list map[string]Mount) error {
		maps.DeleteFunc(list, func(_ string, mount Mount) bool { return mount.Namespace != nil && mount.UUID == uuid })
		return nil
	})
}

// realm is the one of a namespace in the table. It is made once: what it remembers of
// its own changes must not be remembered twice.
func (m *Mounts) realm(mount Mount) *Realm {
	if m.build == nil {
		return nil
	}
	if m.realms[mount.UUID] == nil {
		m.realms[mount.UUID] = m.build(mount)
	}
	return m.realms[mount.UUID]
}

// freshID is an id that no namespace of the table has.
func (m *Mounts) freshID(list map[string]Mount) string {
	for {
		id := randomHex(3)
		taken := slices.ContainsFunc(slices.Collect(maps.Values(list)), func(o Mount) bool { return o.Namespace != nil && o.Namespace.ID == id })
		if !taken && (m.Taken == nil || !m.Taken(id)) {
			return id
		}
	}
}
