// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package entity remembers who is behind the tokens: an entity is one person or
// program, an alias its name at one auth mount, a group several entities (or
// groups) that share policies. It all is sealed; the API is engine/identity.
//
// What leads from one record to another is written on both sides in one
// transaction: an entity knows the groups that name it, a group the groups above
// it. So who somebody is takes as many reads as there are groups, never a search.
package entity

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Entity is one person or program.
type Entity struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Meta     map[string]string `json:"meta,omitempty"`
	Policies []string          `json:"policies,omitempty"` // lower case, sorted
	Disabled bool              `json:"disabled,omitempty"` // its tokens are refused
	Aliases  []Alias           `json:"aliases,omitempty"`  // at most one for each mount
	Groups   []string          `json:"groups,omitempty"`   // ids of the groups that name it
	Merged   []string          `json:"merged,omitempty"`   // ids of entities that became this one
	Created  time.Time         `json:"created"`
	Updated  time.Time         `json:"updated"`
}

// Alias is what an auth mount calls an entity, or an external group.
type Alias struct {
	ID         string            `json:"id"`
	Mount      string            `json:"mount"` // accessor of the auth mount
	Name       string            `json:"name"`
	Meta       map[string]string `json:"meta,omitempty"`        // what the last login said
	Custom     map[string]string `json:"custom,omitempty"`      // what people wrote
	MergedFrom []string          `json:"merged_from,omitempty"` // entities it belonged to before
	Created    time.Time         `json:"created"`
	Updated    time.Time         `json:"updated"`
}

// The kinds of groups.
const (
	Internal = "internal" // members are named by people
	External = "external" // members are those whose login says so
)

// Group is several entities that share policies.
type Group struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	Kind     string            `json:"kind"` // Internal or External
	Meta     map[string]string `json:"meta,omitempty"`
	Policies []string          `json:"policies,omitempty"`
	Entities []string          `json:"-"`                 // ids of members, sorted; kept apart, as they may be many
	Groups   []string          `json:"groups,omitempty"`  // ids of member groups, sorted
	Parents  []string          `json:"parents,omitempty"` // ids of groups this one is a member of
	Alias    *Alias            `json:"alias,omitempty"`   // of an external group
	Created  time.Time         `json:"created"`
	Updated  time.Time         `json:"updated"`
	Changes  int               `json:"changes,omitempty"` // how often it was written
}

// Directory keeps entities and groups.
type Directory struct {
	space barrier.Space
}

// New returns the directory in a space of its own. It reads nothing yet.
func New(space barrier.Space) *Directory { return &Directory{space: space} }

// Where things are. Names are compared in lower case.
const (
	entityDir = "entity"
	aliasDir  = "entity-alias"
	groupDir  = "group"
	galiasDir = "group-alias"
)

func entityPath(id string) string   { return entityDir + "/" + id }
func entityName(name string) string { return "entity-name/" + folded(name) }
func aliasPath(id string) string    { return aliasDir + "/" + id }
func aliasName(mount, name string) string {
	return "alias-name/" + mount + "/" + folded(name)
}
func groupPath(id string) string   { return groupDir + "/" + id }
func groupName(name string) string { return "group-name/" + folded(name) }
func memberPath(id string) string  { return "group-member/" + id }
func galiasPath(id string) string  { return galiasDir + "/" + id }
func galiasName(mount, name string) string {
	return "group-alias-name/" + mount + "/" + folded(name)
}
func mergedPath(id string) string { return "merged/" + id }

// folded is a name as it is compared: the same for all ways to write it large or
// small, and of one length however long it is. Only ASCII is folded: Unicode has
// other letters that become "k" or "s", and who has one in their name is not who
// has not.
func folded(name string) string {
	lower := []byte(name)
	for i, c := range lower {
		if 'A' <= c && c <= 'Z' {
			lower[i] = c + 'a' - 'A'
		}
	}
	sum := sha256.Sum256(lower)
	return hex.EncodeToString(sum[:])
}

// plainID reports whether an id can stand in a path. All of ours can.
func plainID(id string) bool {
	return id != "" && len(id) <= 64 && strings.Trim(id, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_") == ""
}

// Random is a name nobody can guess.
func Random() string { return newID() }

// newID is a random UUID (RFC 9562, version 4).
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: see crypto/rand
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// madeName is the name of what nobody named.
func madeName(kind string) string {
	var b [4]byte
	_, _ = rand.Read(b[:])
	return kind + "_" + hex.EncodeToString(b[:])
}

// loadEntity reads an entity, also under the id of one merged into it; nil where
// there is none. In a View it is shared and must not be changed.
func loadEntity(ctx context.Context, r barrier.Reader, id string) (*Entity, error) {
	if !plainID(id) {
		return nil, nil
	}
	e, err := barrier.Decoded(ctx, r, entityPath(id), decode[Entity])
	if err != nil || e != nil {
		return e, err
	}
	// A merge rewrites what points to those merged before, so one step is enough.
	to, err := get(ctx, r, mergedPath(id))
	if err != nil || to == "" {
		return nil, err
	}
	return barrier.Decoded(ctx, r, entityPath(to), decode[Entity])
}

// loadGroup reads a group with its members.
func loadGroup(ctx context.Context, r barrier.Reader, id string) (*Group, error) {
	head, err := loadHead(ctx, r, id)
	if err != nil || head == nil {
		return nil, err
	}
	members, err := barrier.Decoded(ctx, r, memberPath(id), decode[[]string])
	if err != nil || members == nil {
		return head, err
	}
	g := *head
	g.Entities = *members
	return &g, nil
}

// loadHead reads a group without its members: what each request of a member needs.
func loadHead(ctx context.Context, r barrier.Reader, id string) (*Group, error) {
	if !plainID(id) {
		return nil, nil
	}
	return barrier.Decoded(ctx, r, groupPath(id), decode[Group])
}

func decode[T any](value []byte) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(value, v); err != nil {
		return nil, fmt.Errorf("read identity record: %w", err)
	}
	return v, nil
}

func get(ctx context.Context, r barrier.Reader, path string) (string, error) {
	e, err := r.Get(ctx, path)
	if err != nil || e == nil {
		return "", err
	}
	return string(e.Value), nil
}

func put(ctx context.Context, w barrier.Writer, path, value string) error {
	return w.Put(ctx, barrier.Entry{Path: path, Value: []byte(value)})
}

func save(ctx context.Context, w barrier.Writer, path string, v any) error {
	value, err := json.Marshal(v)
	if err != nil {
		return fault.New(fault.Internal, "write identity record: %w", err)
	}
	return w.Put(ctx, barrier.Entry{Path: path, Value: value})
}

func saveEntity(ctx context.Context, w barrier.Writer, e *Entity) error {
	return save(ctx, w, entityPath(e.ID), e)
}

func saveGroup(ctx context.Context, w barrier.Writer, g *Group) error {
	g.Changes++
	if err := save(ctx, w, memberPath(g.ID), g.Entities); err != nil {
		return err
	}
	return save(ctx, w, groupPath(g.ID), g)
}
