// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component

import (
	"archive/tar"
	"encoding/binary"
	"fmt"
	"math/bits"
	"path"
	"regexp"
	"slices"
	"strings"
)

// toolKinds says what a program of a well-known name is.
var toolKinds = kindsByName(map[FactKind]string{
	Shell:          "sh bash dash ash zsh ksh ksh93 mksh fish tcsh csh busybox",
	PackageManager: "apt-get dpkg apk yum dnf dnf5 microdnf tdnf rpm zypper pacman opkg",
	Compiler:       "gcc cc g++ c++ clang clang++ tcc make cmake ld as go rustc cargo javac ghc",
	RemoteLogin:    "sshd dropbear in.telnetd telnetd in.rshd",
	NetworkTool:    "curl wget nc ncat netcat nc.openbsd nc.traditional socat telnet nmap ssh scp sftp ftp rsync tcpdump",
})

func kindsByName(lists map[FactKind]string) map[string]FactKind {
	out := map[string]FactKind{}
	for kind, names := range lists {
		for _, n := range strings.Fields(names) {
			out[n] = kind
		}
	}
	return out
}

// explanations say what a kind of fact is and how to be rid of it.
var explanations = map[FactKind][2]string{
	EmbeddedSecret: {"A credential is in the image", "change that credential, then rebuild without it: a later layer that deletes it does not help; secrets come at run time"},
	RootUser:       {"The image runs as root", "end the Dockerfile with USER and a number above 0"},
	Shell:          {"The image has a shell", "copy the program into a base image without a shell (distroless, scratch)"},
	PackageManager: {"The image has a package manager", "copy the program into a base image without one (distroless, scratch)"},
	Compiler:       {"The image has a compiler", "build in one stage and copy the result into the last one"},
	NetworkTool:    {"The image has tools that reach over the network", "remove them in the layer that installs them"},
	SetUID:         {"A file runs with the rights of its owner or group", "remove the bit in the layer that brings the file: chmod ug-s"},
	Capability:     {"A file carries capabilities of the kernel", "remove them in the layer that brings the file: setcap -r"},
	WorldWritable:  {"Everybody may write to it", "take the right away in the layer that brings it: chmod o-w"},
	UnpinnedBase:   {"The base image is not pinned to a digest", "write FROM name:tag@sha256:..."},
	Duplicate:      {"A path is twice in one layer, so tools may disagree on what is there", "rebuild the layer with a tool that writes each path once"},
	RemoteLogin:    {"The image offers a remote login", "remove the server and its port: a container is replaced, not repaired, and its engine can run a command in it"},
}

// Explain says in a sentence what a kind of fact is, and what to do about it.
func Explain(kind FactKind) (what, remedy string) {
	if e, ok := explanations[kind]; ok {
		return e[0], e[1]
	}
	return string(kind), "see docs/check.md"
}

// programFolders are where a program can be called by name.
var programFolders = []string{"bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "usr/local/sbin", "usr/local/go/bin"}

// versionedTool matches gcc-12 and x86_64-linux-gnu-g++-12.
var versionedTool = regexp.MustCompile(`^(?:[a-z0-9_]+-linux-[a-z0-9]+-)?(gcc|g\+\+|clang|clang\+\+)(?:-[0-9.]+)?$`)

// namedFacts are the facts a path tells by its name.
func namedFacts(name string) []Fact {
	dir, base := path.Dir(name), path.Base(name)
	if !slices.Contains(programFolders, dir) {
		return nil
	}
	kind, ok := toolKinds[base]
	if m := versionedTool.FindStringSubmatch(base); !ok && m != nil {
		kind, ok = toolKinds[m[1]]
	}
	if !ok {
		return nil
	}
	return []Fact{{Kind: kind, Path: "/" + name, Detail: base}}
}

const (
	modeSetUID = 0o4000
	modeSetGID = 0o2000
	modeSticky = 0o1000
	modeExec   = 0o111
	modeOthers = 0o002
)

// regularFacts are the facts of a regular file's name, mode and attributes.
func regularFacts(name string, h *tar.Header) []Fact {
	var facts []Fact
	if h.Mode&modeExec != 0 {
		facts = namedFacts(name)
		if h.Mode&(modeSetUID|modeSetGID) != 0 {
			facts = append(facts, Fact{Kind: SetUID, Path: "/" + name, Detail: fmt.Sprintf("mode %04o", h.Mode&0o7777)})
		}
	}
	if caps, ok := h.PAXRecords["SCHILY.xattr.security.capability"]; ok {
		facts = append(facts, Fact{Kind: Capability, Path: "/" + name, Detail: capabilityNames(caps)})
	}
	return facts
}

// folderFindings are the facts of a folder: may all write into it?
func folderFindings(name string, h *tar.Header) *fileFindings {
	if h.Mode&modeOthers == 0 || h.Mode&modeSticky != 0 {
		return nil
	}
	return &fileFindings{facts: []Fact{{Kind: WorldWritable, Path: "/" + name, Detail: fmt.Sprintf("mode %04o", h.Mode&0o7777)}}}
}

// capabilities are Linux's, by number (capabilities(7)).
var capabilities = strings.Fields(`chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap
	linux_immutable net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot
	sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease audit_write
	audit_control setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore`)

// capabilityNames reads the kernel's vfs_cap_data: the permitted set.
func capabilityNames(attr string) string {
	data := []byte(attr)
	if len(data) < 12 {
		return "unknown"
	}
	set := uint64(binary.LittleEndian.Uint32(data[4:]))
	if len(data) >= 20 {
		set |= uint64(binary.LittleEndian.Uint32(data[12:])) << 32
	}
	var names []string
	for ; set != 0; set &= set - 1 {
		n := bits.TrailingZeros64(set)
		if n < len(capabilities) {
			names = append(names, "cap_"+capabilities[n])
		}
	}
	return strings.Join(names, ",")
}
