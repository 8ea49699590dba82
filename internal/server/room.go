// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

import (
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// room says whether there is room for changes on the disks of the audit log and
// of the data. It is asked before every change; reads, deletions and the audit
// have what is left below.
func (s *Server) room() error {
	for _, folder := range []string{filepath.Dir(s.config.Audit.File), s.config.Data} {
		var fs unix.Statfs_t
		if err := unix.Statfs(folder, &fs); err != nil {
			return fault.New(fault.Unavailable, "look at the disk: %w", err)
		}
		if free := fs.Bavail * uint64(fs.Bsize); free < s.config.Audit.HeadRoom {
			return fault.New(fault.Unavailable, "the server's disk is nearly full: %d MiB are free, and changes are refused below %d MiB", free>>20, s.config.Audit.HeadRoom>>20).
				WithHint("make room on the disk of the audit log and of the database; reading and deleting still work")
		}
	}
	return nil
}
