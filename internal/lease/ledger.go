// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// Times the ledger works with.
const (
	// PendingFor is how long an effect may take: a lease still pending after it
	// is undone. Give the effect a context that ends well before.
	PendingFor = 2 * time.Minute
	// undoFor bounds one call of an Undoer; claimFor is how long no other node
	// takes up the same lease, and so must be longer.
	undoFor  = 30 * time.Second
	claimFor = time.Minute
	// maxWait is the longest pause between two tries to undo.
	maxWait = 5 * time.Minute
	// mournFor is how long a revoked owner is remembered, so that a request that
	// was under way cannot make a lease for it. No request lasts that long.
	mournFor = 10 * time.Minute
)

// Options is what a Ledger needs.
type Options struct {
	Space   barrier.Space     // of its own
	Undoers map[string]Undoer // by Lease.Kind; the kind "" needs no undoing
	Log     *slog.Logger      // nil: none
	Poll    time.Duration     // how often Run looks for due leases; 0: one second
}

// Ledger keeps all leases.
//
// A lease's entry carries as its expiry the time when something is to be done
// about it: pending, when it has waited too long; active, when it expires;
// revoking, when to try (again). So all work is found by one question to the
// store, and nothing is loaded at start.
type Ledger struct {
	o    Options
	wake chan struct{}
	base string // before the ids of the leases: of the root namespace, or of another
}

// rootBase is where the leases of the root namespace are, spaceBase where those of all
// others are, each below its name.
const (
	rootBase  = "id/"
	spaceBase = "ns/"
)

// Of is the ledger of one namespace, "" being the root: it has the leases made through
// it and no others. That their tokens end is noted for all together, and Run works
// for all, whoever's it is.
func (l *Ledger) Of(namespace string) *Ledger {
	base := rootBase
	if namespace != "" {
		base = spaceBase + namespace + "/"
	}
	return &Ledger{o: l.o, wake: l.wake, base: base}
}

// New returns a Ledger. It reads nothing yet, so it may be made sealed.
func New(o Options) *Ledger {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Poll <= 0 {
		o.Poll = time.Second
	}
	return &Ledger{o: o, wake: make(chan struct{}, 1), base: rootBase}
}

const (
	maxID   = 900
	idChars = 24
)

// NewID makes the id of a lease for a request path. A nil random is the system's.
func NewID(path string, random io.Reader) (string, error) {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	if random == nil {
		random = rand.Reader
	}
	var tail strings.Builder
	for b := make([]byte, 1); tail.Len() < idChars; {
		if _, err := io.ReadFull(random, b); err != nil {
			return "", fmt.Errorf("read random bytes: %w", err)
		}
		if b[0] < 248 { // 4 * 62: all characters equally likely
			tail.WriteByte(alphabet[b[0]%62])
		}
	}
	return strings.Trim(path, "/") + "/" + tail.String(), nil
}

func (l *Ledger) at(id string) string  { return l.base + id }
func ownerPath(accessor string) string { return "owner/" + accessor }

// due is when something is to be done about a lease; see Ledger.
func (l *Lease) due() time.Time {
	switch l.State {
	case Pending:
		return l.Issued.Add(PendingFor)
	case Revoking:
		return l.Retry
	}
	return l.Expires
}

func save(ctx context.Context, w barrier.Writer, l *Lease) error {
	value, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("encode lease: %w", err)
	}
	e := barrier.Entry{Path: l.at, Value: value, Expires: l.due()}
	if l.Owner != "" {
		e.Group = l.Owner
	}
	return w.Put(ctx, e)
}

// load reads a lease; nil where there is none.
func (l *Ledger) load(ctx context.Context, r barrier.Reader, id string) (*Lease, error) {
	if !validID(id) {
		return nil, nil
	}
	return loadAt(ctx, r, l.at(id))
}

func loadAt(ctx context.Context, r barrier.Reader, path string) (*Lease, error) {
	e, err := r.Get(ctx, path)
	if err != nil || e == nil {
		return nil, err
	}
	return decode(e)
}

func decode(e *barrier.Entry) (*Lease, error) {
	l := &Lease{at: e.Path}
	if err := json.Unmarshal(e.Value, l); err != nil {
		return nil, fmt.Errorf("read lease: %w", err)
	}
	return l, nil
}

func validID(id string) bool {
	return id != "" && len(id) <= maxID && !strings.HasPrefix(id, "/") && !strings.HasSuffix(id, "/") && !strings.Contains(id, "//")
}

func errUnknown() error { return fault.New(fault.Invalid, "lease not found") }

// Begin records that something is about to be created: call it before the
// effect. ID, Expires and, where there is something to undo, Kind and Recipe
// must be set. fault.Denied where the owner has just been revoked.
func (l *Ledger) Begin(ctx context.Context, n Lease) error {
	if !validID(n.ID) {
		return fault.New(fault.Invalid, "the lease id is empty, too long or no path")
	}
	if _, known := l.o.Undoers[n.Kind]; !known && n.Kind != "" {
		return fault.New(fault.Internal, "nobody can undo leases of kind %q", n.Kind)
	}
	return l.o.Space.Update(ctx, func(w barrier.Writer) error {
		ended, err := ownerEnded(ctx, w, n.Owner)
		if err != nil {
			return err
		}
		if ended {
			return errOwner()
		}
		old, err := l.load(ctx, w, n.ID)
		if err != nil {
			return err
		}
		if old != nil {
			return fault.New(fault.Conflict, "there is a lease with this id already")
		}
		n.State, n.Issued, n.at = Pending, l.o.Space.Now(), l.at(n.ID)
		if !n.Expires.After(n.Issued) {
			return fault.New(fault.Invalid, "the lease would have expired already")
		}
		return save(ctx, w, &n)
	})
}

// Activate records that the effect of a pending lease is there: call it before
// handing anything out. An error means: hand out nothing; the ledger undoes the
// effect. fault.Conflict where the lease was revoked or took too long,
// fault.Denied where its owner was revoked.
func (l *Ledger) Activate(ctx context.Context, id string) error {
	var refused error
	err := l.o.Space.Update(ctx, func(w barrier.Writer) error {
		refused = nil
		have, err := l.load(ctx, w, id)
		if err != nil {
			return err
		}
		if have == nil {
			refused = errLate()
			return nil
		}
		if refused, err = mayActivate(ctx, w, have); err != nil {
			return err
		}
		have.State = Active
		if refused != nil {
			have.State, have.Retry = Revoking, l.o.Space.Now() // the effect is over: undo it
		}
		return save(ctx, w, have)
	})
	if err == nil && refused != nil {
		l.Wake()
		return refused
	}
	return err
}

func errLate() error {
	return fault.New(fault.Conflict, "the lease is no longer pending: creating it took too long, or it was revoked")
}

func mayActivate(ctx context.Context, r barrier.Reader, have *Lease) (refused, err error) {
	if have.State != Pending {
		return errLate(), nil
	}
	ended, err := ownerEnded(ctx, r, have.Owner)
	if ended {
		refused = errOwner()
	}
	return refused, err
}

// ownerEnded reports whether a token was revoked a short time ago.
func ownerEnded(ctx context.Context, r barrier.Reader, accessor string) (bool, error) {
	if accessor == "" {
		return false, nil
	}
	e, err := r.Get(ctx, ownerPath(accessor))
	return e != nil, err
}

func errOwner() error { return fault.New(fault.Denied, "the token this lease is for was revoked") }

// Lookup returns a lease in whatever state it is; fault.Invalid where there is
// none.
func (l *Ledger) Lookup(ctx context.Context, id string) (*Lease, error) {
	var have *Lease
	err := l.o.Space.View(ctx, func(r barrier.Reader) (err error) {
		have, err = l.load(ctx, r, id)
		return err
	})
	if err == nil && have == nil {
		err = errUnknown()
	}
	return have, err
}

// Renew makes an active lease last increment from now (0: as long as it was
// given last), but never past MaxExpiry. fault.Invalid where it is not there,
// not renewable, or over.
func (l *Ledger) Renew(ctx context.Context, id string, increment time.Duration) (*Lease, error) {
	var have *Lease
	err := l.o.Space.Update(ctx, func(w barrier.Writer) (err error) {
		if have, err = l.load(ctx, w, id); err != nil {
			return err
		}
		now := l.o.Space.Now()
		if have == nil || have.State != Active || !now.Before(have.Expires) {
			return errUnknown()
		}
		if !have.Renewable {
			return fault.New(fault.Invalid, "lease is not renewable")
		}
		ended, err := ownerEnded(ctx, w, have.Owner)
		if err != nil {
			return err
		}
		if ended {
			return errUnknown()
		}
		have.extend(increment, now)
		return save(ctx, w, have)
	})
	return have, err
}

func (l *Lease) extend(increment time.Duration, now time.Time) {
	if increment <= 0 {
		given := l.Issued
		if l.Renewed.After(given) {
			given = l.Renewed
		}
		increment = l.Expires.Sub(given)
	}
	l.Expires, l.Renewed = now.Add(increment), now
	if !l.MaxExpiry.IsZero() && l.Expires.After(l.MaxExpiry) {
		l.Expires = l.MaxExpiry
	}
}

// List returns the names right below a path prefix; folders end in "/".
func (l *Ledger) List(ctx context.Context, prefix string) ([]string, error) {
	var names []string
	err := l.o.Space.View(ctx, func(r barrier.Reader) (err error) {
		names, err = r.List(ctx, strings.TrimSuffix(l.at(strings.Trim(prefix, "/")), "/"))
		return err
	})
	return names, err
}

// Counts says how many leases there are.
type Counts struct {
	Pending, Active, Revoking int
	Failing                   int // of Revoking: those that failed before
}

// Count reads every lease: ask seldom.
func (l *Ledger) Count(ctx context.Context) (Counts, error) {
	var c Counts
	ids, err := l.idsBelow(ctx, "")
	if err != nil {
		return c, err
	}
	err = l.o.Space.View(ctx, func(r barrier.Reader) error {
		c = Counts{}
		for _, id := range ids {
			have, err := l.load(ctx, r, id)
			if err != nil {
				return err
			}
			c.add(have)
		}
		return nil
	})
	return c, err
}

// Failing returns up to limit leases that could not be undone so far. It reads every
// lease: ask seldom.
func (l *Ledger) Failing(ctx context.Context, limit int) ([]*Lease, error) {
	ids, err := l.idsBelow(ctx, "")
	if err != nil {
		return nil, err
	}
	var failing []*Lease
	err = l.o.Space.View(ctx, func(r barrier.Reader) error {
		failing = nil
		for _, id := range ids {
			have, err := l.load(ctx, r, id)
			if err != nil {
				return err
			}
			if have != nil && have.State == Revoking && have.LastError != "" && len(failing) < limit {
				failing = append(failing, have)
			}
		}
		return nil
	})
	return failing, err
}

func (c *Counts) add(l *Lease) {
	switch {
	case l == nil:
	case l.State == Pending:
		c.Pending++
	case l.State == Active:
		c.Active++
	default:
		c.Revoking++
		if l.LastError != "" {
			c.Failing++
		}
	}
}

// idsBelow returns all ids at or below a path.
func (l *Ledger) idsBelow(ctx context.Context, prefix string) ([]string, error) {
	prefix = strings.Trim(prefix, "/")
	var ids []string
	err := l.o.Space.View(ctx, func(r barrier.Reader) error {
		ids = nil
		if have, err := l.load(ctx, r, prefix); err != nil {
			return err
		} else if have != nil {
			ids = append(ids, prefix)
		}
		for dirs := []string{prefix}; len(dirs) > 0; {
			dir := dirs[len(dirs)-1]
			dirs = dirs[:len(dirs)-1]
			names, err := r.List(ctx, strings.TrimSuffix(l.at(dir), "/"))
			if err != nil {
				return err
			}
			for _, name := range names {
				full := strings.TrimPrefix(dir+"/"+name, "/")
				if sub, isDir := strings.CutSuffix(full, "/"); isDir {
					dirs = append(dirs, sub)
				} else {
					ids = append(ids, full)
				}
			}
		}
		return nil
	})
	return ids, err
}

// OnRevoke is MarkOwner within a transaction of the store; it fits
// auth.TokensOptions.OnRevoke.
func (l *Ledger) OnRevoke(ctx context.Context, tx store.Tx, accessor string) error {
	tx.AfterCommit(l.Wake)
	return l.MarkOwner(ctx, l.o.Space.In(tx), accessor)
}
