// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"crypto/sha256"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/goldkeep/goldkeep/internal/attest"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// reread reads the secrets again. Where the server refuses the token, renewing
// tells whether the identity has ended or just this secret is out of reach.
func (a *Agent) reread(ctx context.Context, in *instance) {
	err := a.readSecrets(ctx, in)
	if fault.Is(err, fault.Denied) && a.renew(ctx, in) {
		err = a.readSecrets(ctx, in)
	}
	if err != nil && !in.isOver() {
		a.o.Log.Warn("secrets not complete", "instance", in.id(), "error", err)
	}
}

// readSecrets reads all secrets of an instance and puts what changed into its
// files. Either all are read or the old ones stay.
func (a *Agent) readSecrets(ctx context.Context, in *instance) error {
	in.mu.Lock()
	if in.grant == nil || !in.ended.IsZero() {
		in.mu.Unlock()
		return nil
	}
	token, wanted := in.grant.Token, in.grant.Secrets
	in.mu.Unlock()

	values, files, err := a.fetch(ctx, token, wanted)
	if err != nil {
		in.settle(nil, err.Error(), a.next())
		return err
	}
	changed, err := a.writeFiles(in, files)
	problem := ""
	if err != nil {
		problem = err.Error() // the values can still be had over the socket
	}
	if changed || err != nil || in.differs(values) {
		in.settle(values, problem, a.next())
	}
	return err
}

func (a *Agent) fetch(ctx context.Context, token string, wanted []Secret) ([]Value, map[string][]byte, error) {
	values, files := []Value{}, map[string][]byte{}
	for _, s := range wanted {
		call, cancel := context.WithTimeout(ctx, a.o.Call)
		data, err := a.o.Server.Read(call, token, s)
		cancel()
		if err != nil {
			return nil, nil, fault.New(fault.KindOf(err), "read secret %s: %w", s.Name, err)
		}
		value, made, err := render(s, data)
		if err != nil {
			return nil, nil, err
		}
		for name, content := range made {
			if _, twice := files[name]; twice || len(files) >= maxFiles {
				return nil, nil, fault.New(fault.Invalid, "two secrets want the file %s, or there are over %d files", name, maxFiles)
			}
			files[name] = content
		}
		values = append(values, value)
	}
	return values, files, nil
}

// differs says whether there is anything new to tell the workload.
func (in *instance) differs(values []Value) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.values == nil || in.problem != "" || len(values) != len(in.values) {
		return true
	}
	for i, v := range values {
		old := in.values[i]
		if v.Name != old.Name || v.Env != old.Env || v.File != old.File || v.Value != old.Value || !maps.Equal(v.Values, old.Values) {
			return true
		}
	}
	return false
}

// writeFiles brings an instance's folder up to date and says whether it changed.
func (a *Agent) writeFiles(in *instance, files map[string][]byte) (changed bool, err error) {
	in.disk.Lock()
	defer in.disk.Unlock()
	if in.isOver() || len(files) == 0 && in.folder == nil {
		return false, nil
	}
	if err := a.openFolder(in, files); err != nil {
		return false, err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		sum := sha256.Sum256(files[name])
		if old, there := in.files[name]; there && old == sum {
			continue
		}
		if err := in.folder.write(name, files[name]); err != nil {
			return changed, err
		}
		in.files[name], changed = sum, true
	}
	for name := range in.files {
		if _, wanted := files[name]; !wanted {
			if err := in.folder.remove(name); err != nil {
				return changed, err
			}
			delete(in.files, name)
			changed = true
		}
	}
	return changed, nil
}

// openFolder opens the instance's folder, and for a container notes first what is
// about to be put there. The caller holds disk.
func (a *Agent) openFolder(in *instance, files map[string][]byte) error {
	uid, gid := int(in.evidence.UID), int(in.evidence.GID)
	if in.evidence.Kind == attest.KindProcess {
		if in.folder != nil {
			return nil
		}
		f, err := plainFolder(a.o.Files, in.id(), uid, gid)
		if err == nil {
			in.folder = f
		}
		return err
	}
	names := slices.AppendSeq(slices.Collect(maps.Keys(files)), maps.Keys(in.files))
	slices.Sort(names)
	err := writeNote(a.o.Files, in.id(), note{
		PID: in.anchor.PID, StartTime: in.anchor.StartTime, UID: uid, GID: gid, Files: slices.Compact(names),
	})
	if err != nil || in.folder != nil {
		return err
	}
	f, err := openContainerFolder(in.anchor, uid, gid)
	if err == nil {
		in.folder = f
	}
	return err
}

// clean removes what an ended instance leaves in the agent's own folder.
func (a *Agent) clean(id string) {
	if err := errors.Join(os.RemoveAll(filepath.Join(a.o.Files, id)), removeNote(a.o.Files, id)); err != nil {
		a.o.Log.Error("secret files may still be there", "instance", id, "error", err)
	}
}
