// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/goldkeep/goldkeep/internal/attest"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// stateFolder holds a note for each container that has files: what to remove
// there should this agent be killed.
const stateFolder = ".state"

// note says where an instance's files in a container lie.
type note struct {
	PID       int      `json:"pid"` // the container's first process
	StartTime uint64   `json:"startTime"`
	UID       int      `json:"uid"`
	GID       int      `json:"gid"`
	Files     []string `json:"files"`
}

// prepareDisk makes sure that dir is a tmpfs that others may only pass through.
func prepareDisk(dir string, insecure bool) error {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return fault.New(fault.Internal, "make folder for secret files: %w", err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fault.New(fault.Internal, "look at folder for secret files: %w", err)
	}
	if st.Type != unix.TMPFS_MAGIC && !insecure {
		if err := mountTmpfs(dir); err != nil {
			return fault.New(fault.Invalid, "%s is on a disk, and a tmpfs cannot be mounted there: %w", dir, err).
				WithHint("run the agent as root, or give it a folder on a tmpfs")
		}
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		return fault.New(fault.Internal, "protect folder for secret files: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, stateFolder), 0o700); err != nil {
		return fault.New(fault.Internal, "make folder for notes: %w", err)
	}
	return nil
}

// mountTmpfs asks for one that is never swapped out (Linux 6.4) and takes an
// ordinary one where the kernel has no such thing.
func mountTmpfs(dir string) error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	err := unix.Mount("goldkeep", dir, "tmpfs", flags, "mode=0711,size=64m,noswap")
	if errors.Is(err, unix.EINVAL) {
		err = unix.Mount("goldkeep", dir, "tmpfs", flags, "mode=0711,size=64m")
	}
	return err
}

// clearDisk removes what an agent that was killed left behind: the identities
// those files belonged to are nobody's any more.
func clearDisk(dir string) error {
	notes, err := os.ReadDir(filepath.Join(dir, stateFolder))
	if err != nil {
		return fault.New(fault.Internal, "read notes: %w", err)
	}
	var errs []error
	for _, entry := range notes {
		errs = append(errs, clearContainer(filepath.Join(dir, stateFolder, entry.Name())))
	}
	entries, err := os.ReadDir(dir)
	errs = append(errs, err)
	for _, entry := range entries {
		if entry.IsDir() && isID(entry.Name()) {
			errs = append(errs, os.RemoveAll(filepath.Join(dir, entry.Name())))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fault.New(fault.Internal, "remove files of an earlier run: %w", err)
	}
	return nil
}

func clearContainer(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var n note
	if json.Unmarshal(text, &n) == nil { // half-written: nothing was put into the container yet
		if err := n.clear(); err != nil {
			return err
		}
	}
	return os.Remove(path)
}

// clear removes the noted files, if that very container still runs.
func (n note) clear() error {
	p, err := attest.Find(n.PID, n.StartTime)
	if fault.Is(err, fault.Refused) {
		return nil // it has ended, and its tmpfs with it
	}
	if err != nil {
		return err
	}
	f, err := openContainerFolder(p, n.UID, n.GID)
	if fault.Is(err, fault.Refused) {
		return p.Close()
	}
	if err == nil {
		err = errors.Join(f.remove(n.Files...), f.close())
	}
	return errors.Join(err, p.Close())
}

// writeNote is called before files are put into a container.
func writeNote(dir, id string, n note) error {
	text, err := json.Marshal(n)
	if err != nil {
		return fault.New(fault.Internal, "write note: %w", err)
	}
	path := filepath.Join(dir, stateFolder, id)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return fault.New(fault.Internal, "write note: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fault.New(fault.Internal, "write note: %w", err)
	}
	return nil
}

func removeNote(dir, id string) error {
	if err := os.Remove(filepath.Join(dir, stateFolder, id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.Internal, "remove note: %w", err)
	}
	return nil
}
