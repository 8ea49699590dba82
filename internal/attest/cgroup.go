// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package attest

import (
	"errors"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// Cgroups are the control groups of a process, as this process sees them.
type Cgroups struct {
	Unified string            // path in the unified hierarchy; "" where there is none
	Legacy  map[string]string // v1 hierarchy -> path
}

// Within says whether the process belongs to the control group at path: the
// unified hierarchy decides; where it says nothing, all the others must agree.
// Only the whole path counts, up to a slash: a name in the middle is the
// workload's to choose.
func (g Cgroups) Within(path string) bool {
	if g.decides() {
		return below(g.Unified, path)
	}
	for _, p := range g.Legacy {
		if !below(p, path) {
			return false
		}
	}
	return len(g.Legacy) > 0
}

// Touches says whether any hierarchy puts the process into the control group at
// path. One that touches a container it is not within is lying somewhere.
func (g Cgroups) Touches(path string) bool {
	if below(g.Unified, path) {
		return true
	}
	for _, p := range g.Legacy {
		if below(p, path) {
			return true
		}
	}
	return false
}

func (g Cgroups) decides() bool {
	return g.Unified != "" && (g.Unified != "/" || len(g.Legacy) == 0)
}

// below says whether path is dir or lies below it. The top holds everything, so
// it tells nothing and contains nothing.
func below(path, dir string) bool {
	dir = strings.TrimSuffix(dir, "/")
	return dir != "" && (path == dir || strings.HasPrefix(path, dir+"/"))
}

// Cgroups reads the process's control groups while the pidfd says it lives. Where
// the kernel also gives the control group's number (PIDFD_GET_INFO, Linux 6.13),
// the two must agree.
func (p *Peer) Cgroups() (Cgroups, error) {
	if err := p.Alive(); err != nil {
		return Cgroups{}, err
	}
	text, err := p.read("cgroup")
	if err != nil {
		return Cgroups{}, err
	}
	groups, err := ParseCgroups(text)
	if err != nil {
		return Cgroups{}, err
	}
	id, known := p.cgroupID()
	if mount := unifiedMount(); known && mount != "" && groups.Unified != "" {
		if err := checkID(filepath.Join(mount, groups.Unified), id); err != nil {
			return Cgroups{}, err
		}
	}
	return groups, p.Alive()
}

// checkID compares the number of the control group folder at path with id.
func checkID(path string, id uint64) error {
	var st unix.Stat_t
	err := unix.Stat(path, &st)
	if err == nil && st.Ino != id {
		err = errors.New("the kernel's number and name do not agree")
	}
	if err != nil {
		return fault.New(fault.Refused, "check the control group of the process: %w", err).
			WithHint("it may have been moved just now: try again")
	}
	return nil
}

func (p *Peer) cgroupID() (id uint64, known bool) {
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_CGROUPID}
	err := p.control(func(fd int) error { return unix.IoctlPidfdInfo(fd, &info) })
	return info.Cgroupid, err == nil && info.Mask&unix.PIDFD_INFO_CGROUPID != 0
}

// unifiedMount returns where this process sees the unified hierarchy, or "".
func unifiedMount() string {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			return dir
		}
	}
	return ""
}

// ParseCgroups reads the text of /proc/PID/cgroup (cgroups(7)): one line
// "number:controllers:path" for each hierarchy. A path outside of what this
// process can see, or one that is not clean, is refused.
func ParseCgroups(text string) (Cgroups, error) {
	groups := Cgroups{Legacy: map[string]string{}}
	if len(text) > 1<<20 {
		return groups, fault.New(fault.TooLarge, "read control groups: over 1 MiB of text")
	}
	for line := range strings.Lines(text) {
		number, rest, ok1 := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		controllers, path, ok2 := strings.Cut(rest, ":")
		if !ok1 || !ok2 || !strings.HasPrefix(path, "/") || filepath.Clean(path) != path {
			return groups, fault.New(fault.Refused, "read control groups: %q cannot be trusted", line).
				WithHint("the agent must run in the machine's own control group namespace")
		}
		if number == "0" && controllers == "" {
			groups.Unified = path
		} else {
			groups.Legacy[number+":"+controllers] = path
		}
	}
	if groups.Unified == "" && len(groups.Legacy) == 0 {
		return groups, fault.New(fault.Refused, "read control groups: the process has none")
	}
	return groups, nil
}
