// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package attest

import (
	"bufio"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// Sight is what a workload does, as the kernel shows it: nothing in it comes from
// the workload but the paths of files it runs, which are checked to be there.
type Sight struct {
	Listening []Socket `json:"listening,omitempty"` // in order
	Executed  []string `json:"executed,omitempty"`  // files of its root it runs or has mapped to run, in order
	Partial   bool     `json:"partial,omitempty"`   // there was more than the limits allow
}

// Socket is a port a workload accepts connections or datagrams at, from outside the
// loopback of its network namespace.
type Socket struct {
	Port string `json:"port"`           // "8080/tcp"
	Path string `json:"path,omitempty"` // the program that holds it; "": not known
}

// The limits of one look. A workload that does more costs no more.
const (
	MaxSockets   = 256      // reported
	MaxFiles     = 1024     // reported
	maxProcesses = 1024     // of one workload
	maxPIDs      = 100_000  // of the machine
	maxHandles   = 50_000   // open files looked at, of all processes
	maxMaps      = 4 << 20  // bytes of one process's maps
	maxTable     = 8 << 20  // bytes of one table of sockets
	maxText      = 64 << 20 // bytes of all these
	maxChecked   = 8 * MaxFiles
	maxTables    = 16  // network namespaces
	maxPath      = 512 // bytes of a path; longer ones are left out
)

// Look looks at the processes of a workload, held by its anchor. A process that
// ends, or changes its control group, while it is looked at does not count.
func Look(ctx context.Context, e *Evidence, anchor *Peer) (*Sight, error) {
	root, err := anchor.OpenRoot()
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	l := &look{
		root: root, files: map[string]bool{}, checked: map[string]bool{}, sockets: map[Socket]bool{},
		tables: map[uint64]map[string][]string{}, handles: maxHandles, text: maxText,
	}
	if e.Kind == KindProcess {
		l.program = "/" + e.Program
		if !isPath(l.program) {
			l.program = "/"
		}
		err = l.process(anchor)
	} else {
		err = l.members(ctx, e.CgroupPath, anchor)
	}
	if err := errors.Join(err, anchor.Alive()); err != nil {
		return nil, err
	}
	return l.sight(), nil
}

// look is one look under way.
type look struct {
	root    *os.File // of the workload
	program string   // of a plain process: the only file that is its image
	files   map[string]bool
	checked map[string]bool // paths looked up, whatever came of it
	sockets map[Socket]bool
	tables  map[uint64]map[string][]string // by network namespace: ports by socket number
	handles int                            // open files that may still be looked at
	text    int64                          // bytes that may still be read
	partial bool
}

// members looks at every process of a control group.
func (l *look) members(ctx context.Context, group string, anchor *Peer) error {
	pids, err := processes()
	if err != nil {
		return err
	}
	l.partial = l.partial || len(pids) == maxPIDs
	for found := 0; len(pids) > 0; pids = pids[1:] {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := member(pids[0], group)
		if p == nil {
			continue
		}
		if found++; found > maxProcesses {
			l.partial = true
			return p.Close()
		}
		if l.sameRoot(p, anchor) {
			_ = l.process(p) // it has ended meanwhile: then it does not count
		}
		if err := p.Close(); err != nil {
			return err
		}
	}
	return nil
}

// processes returns the pids of the machine.
func processes() ([]int, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer func() { _ = dir.Close() }()
	var pids []int
	for {
		names, err := dir.Readdirnames(1000)
		for _, name := range names {
			if pid, err := strconv.Atoi(name); err == nil && len(pids) < maxPIDs {
				pids = append(pids, pid)
			}
		}
		if errors.Is(err, io.EOF) || len(pids) == maxPIDs {
			return pids, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// member returns the process with a pid where it belongs to a control group; nil
// where it does not, or has ended.
func member(pid int, group string) *Peer {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil || !strings.Contains(string(text), group) {
		return nil // most of the machine's: no more is spent on them
	}
	p, err := open(pid)
	if err != nil {
		return nil
	}
	groups, err := p.Cgroups()
	if err != nil || !groups.Within(group) {
		_ = p.Close()
		return nil
	}
	return p
}

// sameRoot says whether two processes see the same files: only then do their paths
// mean the same.
func (l *look) sameRoot(p, anchor *Peer) bool {
	a, err1 := os.Stat(p.path("ns/mnt"))
	b, err2 := os.Stat(anchor.path("ns/mnt"))
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

// process looks at one process. What was seen counts only if it still lives.
func (l *look) process(p *Peer) error {
	var files []string
	program := l.program
	if program == "" {
		program, _ = os.Readlink(p.path("exe")) // a kernel thread, or gone
		files = append(l.mapped(p), program)
	} else {
		files = []string{program}
	}
	sockets := l.listening(p)
	if err := p.Alive(); err != nil {
		return err
	}
	for _, name := range files {
		l.run(name)
	}
	if !l.files[program] {
		program = "" // it is none of the workload's
	}
	for _, port := range sockets {
		if s := (Socket{port, program}); !l.sockets[s] && len(l.sockets) >= MaxSockets {
			l.partial = true
		} else {
			l.sockets[s] = true
		}
	}
	return nil
}

// run notes a file, if it is one of the workload's root.
func (l *look) run(name string) {
	if name == "" || l.checked[name] {
		return
	}
	if len(l.files) >= MaxFiles || len(l.checked) >= maxChecked {
		l.partial = true
		return
	}
	l.checked[name] = true
	if l.program != "" && name != "/" || l.program == "" && isPath(name) && l.inRoot(name) {
		l.files[name] = true
	}
}

// isPath reports whether a text of the kernel's is a plain path. In maps a newline
// is written "\012", and a name may hold that too: nobody can tell, so a
// backslash is not believed.
func isPath(name string) bool {
	return path.IsAbs(name) && path.Clean(name) == name && len(name) <= maxPath && utf8.ValidString(name) &&
		!strings.HasSuffix(name, " (deleted)") && !strings.ContainsFunc(name, func(r rune) bool { return r == '\\' || !unicode.IsPrint(r) })
}

// inRoot reports whether a path leads to a file of the workload's root itself:
// through no link, and to no other mount, such as a volume.
func (l *look) inRoot(name string) bool {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_XDEV | unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(int(l.root.Fd()), name, &how)
	if err != nil {
		return false
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG
}

// mapped returns the files a process has mapped to run.
func (l *look) mapped(p *Peer) []string {
	file, err := os.Open(p.path("maps"))
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }()
	names := map[string]bool{}
	l.lines(file, maxMaps, func(line string) bool {
		if name := ParseMap(line); name != "" {
			names[name] = true
		}
		return len(names) <= MaxFiles
	})
	return slices.Sorted(maps.Keys(names))
}

// lines calls fn for each line of a kernel's text of at most limit bytes, until it
// returns false.
func (l *look) lines(r io.Reader, limit int64, fn func(line string) bool) {
	limit = min(limit, l.text)
	bounded := &io.LimitedReader{R: r, N: limit}
	defer func() { l.text -= limit - bounded.N }()
	in := bufio.NewScanner(bounded)
	in.Buffer(make([]byte, 0, 8<<10), 64<<10)
	for in.Scan() {
		if !fn(in.Text()) {
			l.partial = true
			return
		}
	}
	l.partial = l.partial || bounded.N == 0 || in.Err() != nil
}

// ParseMap returns the path in a line of /proc/PID/maps (proc_pid_maps(5)) where it
// maps a file to run; else "".
func ParseMap(line string) string {
	fields := strings.SplitN(line, " ", 6)
	if len(fields) < 6 || len(fields[1]) < 3 || fields[1][2] != 'x' || fields[4] == "0" {
		return ""
	}
	name := strings.TrimLeft(fields[5], " ")
	if !isPath(name) {
		return ""
	}
	return name
}

// listening returns the ports of the sockets a process holds.
func (l *look) listening(p *Peer) []string {
	table, err := l.table(p)
	if err != nil || len(table) == 0 {
		return nil
	}
	dir, err := os.Open(p.path("fd"))
	if err != nil {
		return nil
	}
	defer func() { _ = dir.Close() }()
	var ports []string
	for l.handles > 0 {
		names, err := dir.Readdirnames(500)
		l.handles -= len(names)
		for _, name := range names {
			target, _ := os.Readlink(filepath.Join(dir.Name(), name)) // closed meanwhile
			number, isSocket := strings.CutPrefix(target, "socket:[")
			if isSocket {
				ports = append(ports, table[strings.TrimSuffix(number, "]")]...)
			}
		}
		if err != nil {
			return ports
		}
	}
	l.partial = true
	return ports
}

// table returns the listening sockets of a process's network namespace, read once.
func (l *look) table(p *Peer) (map[string][]string, error) {
	var st unix.Stat_t
	if err := unix.Stat(p.path("ns/net"), &st); err != nil {
		return nil, err
	}
	if known, ok := l.tables[st.Ino]; ok {
		return known, nil
	}
	if len(l.tables) >= maxTables {
		l.partial = true
		return nil, nil
	}
	table := map[string][]string{}
	for _, kind := range []string{"tcp", "tcp6", "udp", "udp6"} {
		file, err := os.Open(p.path("net/" + kind))
		if err != nil {
			continue // a kernel without IPv6
		}
		l.lines(file, maxTable, func(line string) bool {
			if port, number := ParseSocket(strings.TrimSuffix(kind, "6"), line); port != "" {
				table[number] = append(table[number], port)
			}
			return true
		})
		_ = file.Close()
	}
	l.tables[st.Ino] = table
	return table, nil
}

// ParseSocket reads a line of /proc/PID/net/tcp, tcp6, udp or udp6
// (proc_pid_net(5)): the port, and the socket's number. Both are "" unless it takes
// what comes from outside the loopback.
func ParseSocket(kind, line string) (port, number string) {
	fields := strings.Fields(line)
	if len(fields) < 10 {
		return "", ""
	}
	address, hex, ok := strings.Cut(fields[1], ":")
	_, remote, _ := strings.Cut(fields[2], ":")
	const listen, unconnected = "0A", "07"
	takes := kind == "tcp" && fields[3] == listen || kind == "udp" && fields[3] == unconnected && remote == "0000"
	n, err := strconv.ParseUint(hex, 16, 16)
	if !ok || !takes || err != nil || n == 0 || isLoopback(address) {
		return "", ""
	}
	return strconv.FormatUint(n, 10) + "/" + kind, fields[9]
}

// isLoopback reads an address as the kernel prints it: 32-bit words, each with its
// bytes in the machine's order, which is little-endian wherever we run.
func isLoopback(address string) bool {
	switch len(address) {
	case 8:
		return strings.HasSuffix(address, "7F")
	case 32:
		return address == strings.Repeat("0", 24)+"01000000" || strings.HasPrefix(address, strings.Repeat("0", 16)+"FFFF0000") && strings.HasSuffix(address, "7F")
	}
	return false
}

func (l *look) sight() *Sight {
	s := &Sight{Partial: l.partial}
	for name := range l.files {
		s.Executed = append(s.Executed, name)
	}
	for socket := range l.sockets {
		s.Listening = append(s.Listening, socket)
	}
	slices.Sort(s.Executed)
	slices.SortFunc(s.Listening, func(a, b Socket) int { return strings.Compare(a.Port+" "+a.Path, b.Port+" "+b.Path) })
	return s
}

// Equal reports whether two sights say the same.
func (s *Sight) Equal(other *Sight) bool {
	return s != nil && other != nil && s.Partial == other.Partial && slices.Equal(s.Listening, other.Listening) && slices.Equal(s.Executed, other.Executed)
}
