// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// fileDevice appends to a file, opened anew when somebody has moved it away.
type fileDevice struct {
	path   string // or "stdout", "discard"
	mode   os.FileMode
	prefix string
	out    *os.File
}

func (o *options) file() Device {
	d := &fileDevice{path: o.text("file_path", ""), mode: 0o600, prefix: o.text("prefix", "")}
	if path := o.text("path", ""); d.path == "" {
		d.path = path
	}
	if d.path == "" {
		o.refuse("file_path is missing")
	}
	if mode := o.text("mode", "0600"); mode != "0000" && mode != "0" {
		bits, err := strconv.ParseUint(mode, 8, 32)
		if err != nil || bits > 0o777 {
			o.refuse("mode must be an octal number such as 0600")
		}
		d.mode = os.FileMode(bits)
	}
	return d
}

func (*fileDevice) MaxLine() int { return 0 }

func (d *fileDevice) Send(_ context.Context, lines [][]byte) error {
	if strings.EqualFold(d.path, "discard") {
		return nil
	}
	all := joined(lines, d.prefix)
	if d.path == "stdout" {
		_, err := os.Stdout.Write(all)
		return err
	}
	if err := d.open(); err != nil {
		return err
	}
	before, err := d.out.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if _, err := d.out.Write(all); err != nil {
		return errors.Join(err, d.out.Truncate(before)) // no half line before the next one
	}
	return d.out.Sync()
}

// open opens the file, again where its name leads elsewhere by now.
func (d *fileDevice) open() error {
	if d.out != nil {
		here, err := d.out.Stat()
		there, errThere := os.Stat(d.path)
		if err == nil && errThere == nil && os.SameFile(here, there) {
			return nil
		}
		_ = d.Close()
	}
	out, err := os.OpenFile(d.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND|syscall.O_NONBLOCK, d.mode)
	if err != nil {
		return err
	}
	if info, err := out.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(fmt.Errorf("%s is not a file", d.path), err, out.Close())
	}
	d.out = out
	return nil
}

func (d *fileDevice) Close() error {
	if d.out == nil {
		return nil
	}
	err := d.out.Close()
	d.out = nil
	return err
}

func joined(lines [][]byte, prefix string) []byte {
	if prefix == "" {
		return bytes.Join(lines, nil)
	}
	var all []byte
	for _, line := range lines {
		all = append(append(all, prefix...), line...)
	}
	return all
}

// netDevice writes to a connection: a socket, or syslog.
type netDevice struct {
	network, address string
	timeout          time.Duration
	frame            func(line []byte) []byte // nil: as it is
	conn             net.Conn
}

// Datagrams hold no more than this, in bytes, on any system.
const maxDatagram = 60 << 10

func (o *options) socket() Device {
	return &netDevice{
		address: o.needed("address"), network: o.oneOf("socket_type", "tcp", "udp", "unix"),
		timeout: o.duration("write_timeout", 2*time.Second),
	}
}

// facilities are numbered as in RFC 5424, section 6.2.1.
var facilities = map[string]int{
	"KERN": 0, "USER": 1, "MAIL": 2, "DAEMON": 3, "AUTH": 4, "SYSLOG": 5, "LPR": 6, "NEWS": 7, "UUCP": 8, "CRON": 9, "AUTHPRIV": 10, "FTP": 11,
	"LOCAL0": 16, "LOCAL1": 17, "LOCAL2": 18, "LOCAL3": 19, "LOCAL4": 20, "LOCAL5": 21, "LOCAL6": 22, "LOCAL7": 23,
}

const severityInfo = 6

// syslog writes as log/syslog does: without the host's name to the local daemon,
// with it and RFC 3339 time over the network.
func (o *options) syslog() Device {
	facility, known := facilities[strings.ToUpper(o.text("facility", "AUTH"))]
	if !known {
		o.refuse("facility must be one of syslog's, such as AUTH or LOCAL0")
	}
	tag := o.text("tag", "goldkeep")
	if strings.ContainsAny(tag, " :[]\n\r\t") || len(tag) > 32 {
		o.refuse("tag must be one word of at most 32 bytes")
	}
	d := &netDevice{
		network: o.oneOf("socket_type", "unixgram", "unix", "udp", "tcp"), address: o.text("address", "/dev/log"),
		timeout: o.duration("write_timeout", 2*time.Second),
	}
	host, _ := os.Hostname()
	front := fmt.Sprintf("<%d>", facility*8+severityInfo)
	local := strings.HasPrefix(d.network, "unix")
	d.frame = func(line []byte) []byte {
		head := front
		if local {
			head += timeOf(line).Local().Format(time.Stamp)
		} else {
			head += timeOf(line).Format(time.RFC3339) + " " + host
		}
		return append(fmt.Appendf(nil, "%s %s[%d]: ", head, tag, os.Getpid()), line...)
	}
	return d
}

// timeOf is when a record was written.
func timeOf(line []byte) time.Time {
	_, rest, _ := bytes.Cut(line, []byte(`"time":"`))
	text, _, _ := bytes.Cut(rest, []byte(`"`))
	t, _ := time.Parse(time.RFC3339Nano, string(text)) // a stand-in has none
	return t
}

func (d *netDevice) datagrams() bool { return d.network == "udp" || d.network == "unixgram" }

func (d *netDevice) MaxLine() int {
	if d.datagrams() {
		return maxDatagram
	}
	return 0
}

func (d *netDevice) Send(ctx context.Context, lines [][]byte) error {
	if d.conn != nil && !alive(d.conn) {
		_ = d.Close()
	}
	if d.conn == nil {
		dialer := net.Dialer{Timeout: d.timeout}
		conn, err := dialer.DialContext(ctx, d.network, d.address)
		if err != nil {
			return err
		}
		d.conn = conn
	}
	framed := lines
	if d.frame != nil {
		framed = make([][]byte, len(lines))
		for i, line := range lines {
			framed[i] = d.frame(line)
		}
	}
	if !d.datagrams() {
		framed = [][]byte{bytes.Join(framed, nil)}
	}
	for _, message := range framed {
		if err := d.conn.SetWriteDeadline(time.Now().Add(d.timeout)); err != nil {
			return err
		}
		if _, err := d.conn.Write(message); err != nil {
			return err
		}
	}
	if d.datagrams() {
		return nil
	}
	return d.taken(ctx)
}

// taken waits until the other side's kernel has all we wrote: before that a
// connection that breaks loses it.
func (d *netDevice) taken(ctx context.Context) error {
	bound, look := time.NewTimer(d.timeout), time.NewTicker(2*time.Millisecond)
	defer bound.Stop()
	defer look.Stop()
	for {
		left, err := unsent(d.conn)
		if err != nil {
			return err
		}
		if left == 0 {
			if !alive(d.conn) {
				return errors.New("the other side has hung up")
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-bound.C:
			return fmt.Errorf("the other side has not taken %d bytes within %s", left, d.timeout)
		case <-look.C:
		}
	}
}

func (d *netDevice) Close() error {
	if d.conn == nil {
		return nil
	}
	err := d.conn.Close()
	d.conn = nil
	return err
}

// unsent is how many bytes the other side has not acknowledged.
func unsent(conn net.Conn) (left int, err error) {
	errControl := onDescriptor(conn, func(fd int) { left, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ) })
	return left, errors.Join(err, errControl)
}

// alive says whether the other side still listens: nothing is ever sent back, so
// an end of input means that it has hung up.
func alive(conn net.Conn) bool {
	var n int
	var err error
	if onDescriptor(conn, func(fd int) { n, _, err = unix.Recvfrom(fd, make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT) }) != nil {
		return false
	}
	return n > 0 || errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOTCONN)
}

func onDescriptor(conn net.Conn, do func(fd int)) error {
	raw, ok := conn.(syscall.Conn)
	if !ok {
		return errors.New("not a connection of the system")
	}
	c, err := raw.SyscallConn()
	if err != nil {
		return err
	}
	return c.Control(func(fd uintptr) { do(int(fd)) })
}
