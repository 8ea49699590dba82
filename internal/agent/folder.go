// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"crypto/rand"
	"errors"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/goldkeep/goldkeep/internal/attest"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// containerTmpfs is where a container must have mounted a tmpfs.
const containerTmpfs = "/run/goldkeep"

// containerFolder is where a container finds its secrets.
const containerFolder = containerTmpfs + "/secrets"

// folder is where one workload's files lie. It is reached by descriptor only: the
// workload owns it and may rename it or plant links in it at any time.
type folder struct {
	dir  *os.File
	path string // as the workload sees it
	uid  int
	gid  int
}

// beneath refuses every link, mount and ".." on the way.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV

// openDir opens a folder below dir.
func openDir(dir *os.File, name string, resolve uint64) (*os.File, error) {
	fd, err := unix.Openat2(int(dir.Fd()), name, &unix.OpenHow{
		Flags: unix.O_DIRECTORY | unix.O_RDONLY | unix.O_CLOEXEC, Resolve: resolve,
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// makeFolder makes, or takes over, the folder name below dir for a user.
func makeFolder(dir *os.File, name string, uid, gid int) (*folder, error) {
	if err := unix.Mkdirat(int(dir.Fd()), name, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fault.New(fault.Internal, "make folder for secrets: %w", err)
	}
	opened, err := openDir(dir, name, beneath)
	if err != nil {
		return nil, fault.New(fault.Refused, "open folder for secrets: %w", err)
	}
	err = errors.Join(unix.Fchown(int(opened.Fd()), uid, gid), unix.Fchmod(int(opened.Fd()), 0o700))
	if err != nil {
		_ = opened.Close()
		return nil, fault.New(fault.Internal, "hand the folder for secrets over to user %d: %w", uid, err).
			WithHint("the agent must run as root to serve other users")
	}
	return &folder{dir: opened, uid: uid, gid: gid}, nil
}

// plainFolder is for a plain process: its own folder below the agent's.
func plainFolder(files, id string, uid, gid int) (*folder, error) {
	top, err := os.Open(files)
	if err != nil {
		return nil, fault.New(fault.Internal, "open folder for secrets: %w", err)
	}
	f, err := makeFolder(top, id, uid, gid)
	if err := errors.Join(err, top.Close()); err != nil {
		return nil, err
	}
	f.path = filepath.Join(files, id)
	return f, nil
}

// containerDir opens the container's tmpfs through its first process.
func containerDir(anchor *attest.Peer) (*os.File, error) {
	root, err := anchor.OpenRoot()
	if err != nil {
		return nil, err
	}
	dir, err := openDir(root, containerTmpfs[1:], unix.RESOLVE_IN_ROOT|unix.RESOLVE_NO_SYMLINKS|unix.RESOLVE_NO_MAGICLINKS)
	err = errors.Join(err, root.Close())
	missing := fault.New(fault.Refused, "the container has no tmpfs at %s for its secrets", containerTmpfs).
		WithHint("start it with `--tmpfs %s`", containerTmpfs)
	if err != nil {
		return nil, missing
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &st); err != nil || st.Type != unix.TMPFS_MAGIC {
		return nil, errors.Join(missing, dir.Close())
	}
	if err := anchor.Alive(); err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	return dir, nil
}

func openContainerFolder(anchor *attest.Peer, uid, gid int) (*folder, error) {
	dir, err := containerDir(anchor)
	if err != nil {
		return nil, err
	}
	f, err := makeFolder(dir, path.Base(containerFolder), uid, gid)
	if err := errors.Join(err, dir.Close()); err != nil {
		return nil, err
	}
	f.path = containerFolder
	return f, nil
}

// parent opens, and where wanted makes, the folder a file goes to.
func (f *folder) parent(name string, create bool) (*os.File, error) {
	sub := path.Dir(name)
	if sub == "." {
		return openDir(f.dir, ".", beneath)
	}
	done := "."
	for _, part := range strings.Split(sub, "/") {
		done = path.Join(done, part)
		if !create {
			continue
		}
		above, err := openDir(f.dir, path.Dir(done), beneath)
		if err != nil {
			return nil, err
		}
		made, err := makeFolder(above, part, f.uid, f.gid)
		if err := errors.Join(err, above.Close()); err != nil {
			return nil, err
		}
		if err := made.close(); err != nil {
			return nil, err
		}
	}
	return openDir(f.dir, sub, beneath)
}

// write replaces one file as a whole: mode 0400, owned by the workload.
func (f *folder) write(name string, content []byte) error {
	if err := checkFileName(name); err != nil {
		return err
	}
	dir, err := f.parent(name, true)
	if err == nil {
		err = errors.Join(f.replace(dir, path.Base(name), content), dir.Close())
	}
	if err != nil {
		return fault.New(fault.Unavailable, "write secret file %s: %w", name, err)
	}
	return nil
}

func (f *folder) replace(dir *os.File, name string, content []byte) error {
	temp := ".new-" + rand.Text()
	fd, err := unix.Openat(int(dir.Fd()), temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), name)
	_, err = file.Write(content)
	err = errors.Join(err, unix.Fchmod(fd, 0o400), unix.Fchown(fd, f.uid, f.gid), file.Close())
	if err == nil {
		err = unix.Renameat(int(dir.Fd()), temp, int(dir.Fd()), name)
	}
	if err != nil {
		_ = unix.Unlinkat(int(dir.Fd()), temp, 0)
	}
	return err
}

// remove deletes files, and the folders they leave empty. What is gone already is
// fine; what is left is an error, because a secret stays readable.
func (f *folder) remove(names ...string) error {
	var errs []error
	for _, name := range names {
		dir, err := f.parent(name, false)
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err == nil {
			if err = unix.Unlinkat(int(dir.Fd()), path.Base(name), 0); errors.Is(err, unix.ENOENT) {
				err = nil
			}
			err = errors.Join(err, dir.Close())
		}
		if err != nil {
			errs = append(errs, fault.New(fault.Internal, "remove secret file %s: %w", name, err))
		}
	}
	for _, name := range names {
		for sub := path.Dir(name); sub != "."; sub = path.Dir(sub) {
			_ = unix.Unlinkat(int(f.dir.Fd()), sub, unix.AT_REMOVEDIR) // not empty, or gone: fine
		}
	}
	return errors.Join(errs...)
}

func (f *folder) close() error { return f.dir.Close() }
