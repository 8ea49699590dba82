// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/audit"
)

// courier starts a courier; stop ends it and waits.
func courier(t *testing.T, f *audit.File, path string, c audit.DeviceConfig) (state func() audit.CourierState, stop func()) {
	t.Helper()
	k, err := audit.NewCourier(path, f.Head, c, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); k.Run(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return k.State, stop
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	bound, look := time.NewTimer(30*time.Second), time.NewTicker(5*time.Millisecond)
	defer bound.Stop()
	defer look.Stop()
	for !is() {
		select {
		case <-bound.C:
			t.Fatalf("it never came that %s", what)
		case <-look.C:
		}
	}
}

// received are the numbers of the records in a copy.
func received(t *testing.T, copied []byte) (seqs []uint64) {
	t.Helper()
	lines := bufio.NewScanner(bytes.NewReader(copied))
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		_, text, ok := strings.Cut(lines.Text(), "{")
		var rec audit.Record
		if !ok || json.Unmarshal([]byte("{"+text), &rec) != nil {
			t.Fatalf("no record: %q", lines.Text())
		}
		seqs = append(seqs, rec.Seq)
	}
	return seqs
}

// inOrder checks that every record from 1 to last has come, none before the one
// it follows came.
func inOrder(t *testing.T, seqs []uint64, last uint64) {
	t.Helper()
	var reached uint64
	for _, seq := range seqs {
		if seq > reached+1 {
			t.Fatalf("record %d came after %d", seq, reached)
		}
		reached = max(reached, seq)
	}
	if reached != last {
		t.Errorf("%d records came, of %d", reached, last)
	}
}

// TestFileDevice: a copy is the log, across files put aside, a restart, and
// somebody who rotates the copy.
func TestFileDevice(t *testing.T) {
	dir := t.TempDir()
	path, copied := filepath.Join(dir, "audit.log"), filepath.Join(dir, "copy.log")
	f := open(t, audit.Options{Path: path, MaxSize: 3000})
	conf := audit.DeviceConfig{Name: "copy", Type: "file", Options: map[string]string{"file_path": copied, "log_raw": "false", "hmac_accessor": "true"}}
	write(t, f, 50)
	state, stop := courier(t, f, path, conf)
	eventually(t, "the copy has caught up", func() bool { return state().Sent == 50 })
	stop()
	write(t, f, 30)
	if err := os.Rename(copied, copied+".1"); err != nil {
		t.Fatal(err)
	}
	state, _ = courier(t, f, path, conf)
	eventually(t, "the restarted courier has caught up", func() bool { return state().Sent == 80 })
	write(t, f, 300)
	eventually(t, "the copy has caught up again", func() bool { return state().Behind == 0 && state().Sent == f.Head().Seq })
	first, _ := os.ReadFile(copied + ".1")
	second, _ := os.ReadFile(copied)
	inOrder(t, received(t, append(first, second...)), f.Head().Seq)
	res, err := audit.Verify(t.Context(), bytes.NewReader(append(first, second...)), nil)
	if err != nil || len(res.Problems) > 0 {
		t.Errorf("the copy is no sound log: %v %v", res.Problems, err)
	}
	if info, err := os.Stat(copied); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the copy's mode: %v %v", info.Mode(), err)
	}
}

// TestSocketDeviceThatBreaks: the receiver is away, hangs up in the middle, and
// never reads; no record is lost, and no writer waits.
func TestSocketDeviceThatBreaks(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.log")
	at := filepath.Join(dir, "receiver")
	f := open(t, audit.Options{Path: path})
	conf := audit.DeviceConfig{Name: "siem", Type: "socket", Options: map[string]string{"address": at, "socket_type": "unix", "write_timeout": "1s"}}
	state, stop := courier(t, f, path, conf)
	write(t, f, 20)
	eventually(t, "the failure is known", func() bool { s := state(); return s.Error != "" && s.Behind == 20 && !s.Since.IsZero() })

	listener, err := net.Listen("unix", at)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	got := make(chan []byte, 1)
	go func() {
		var all bytes.Buffer
		defer func() { got <- all.Bytes() }()
		for _, most := range []int{5, 10, 1 << 30} { // twice it hangs up with the rest unread
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			lines := bufio.NewReaderSize(conn, 4096)
			for range most {
				line, err := lines.ReadBytes('\n')
				if err != nil {
					break
				}
				all.Write(line)
			}
			_ = conn.Close()
		}
	}()
	write(t, f, 1000)
	eventually(t, "all is taken", func() bool { return state().Behind == 0 })
	stop() // hangs up
	inOrder(t, received(t, <-got), f.Head().Seq)
}

// TestDeadDeviceStopsNobody: a receiver that accepts and never reads.
func TestDeadDeviceStopsNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	f := open(t, audit.Options{Path: path})
	state, stop := courier(t, f, path, audit.DeviceConfig{
		Name: "dead", Type: "socket", Options: map[string]string{"address": listener.Addr().String(), "write_timeout": "50ms"},
	})
	rec := entry(0)
	rec.Reason = strings.Repeat("x", 100<<10)
	for range 300 { // 30 MB: more than the buffers of any connection
		if err := f.Append(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the device is found dead", func() bool { return state().Error != "" })
	if s := state(); s.Behind == 0 {
		t.Errorf("nothing is behind: %+v", s)
	}
	stop() // also ends while it hangs
}

func TestSyslogDevice(t *testing.T) {
	dir := t.TempDir()
	path, at := filepath.Join(dir, "audit.log"), filepath.Join(dir, "log")
	daemon, err := net.ListenPacket("unixgram", at)
	if err != nil {
		t.Fatal(err)
	}
	defer daemon.Close()
	f := open(t, audit.Options{Path: path, Now: func() time.Time { return time.Unix(1, 0) }})
	write(t, f, 2)
	huge := entry(3)
	huge.Reason = strings.Repeat("x", 200<<10)
	if err := f.Append(t.Context(), huge); err != nil {
		t.Fatal(err)
	}
	courier(t, f, path, audit.DeviceConfig{Name: "syslog", Type: "syslog", Options: map[string]string{"address": at, "facility": "LOCAL0", "tag": "vault"}})
	buf := make([]byte, 64<<10)
	var got []string
	for range 3 {
		n, _, err := daemon.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(buf[:n]))
	}
	want := fmt.Sprintf("<134>%s vault[%d]: {\"seq\":1,", time.Unix(1, 0).Format(time.Stamp), os.Getpid())
	if !strings.HasPrefix(got[0], want) {
		t.Errorf("%q, want %q", got[0], want)
	}
	if !strings.Contains(got[2], `"left out"`) || !strings.Contains(got[2], `"seq":3`) {
		t.Errorf("of a record that is too long: %q", got[2])
	}
}

func TestDevicesThatCannotBe(t *testing.T) {
	for text, c := range map[string]audit.DeviceConfig{
		"needs a name":         {Name: "../x", Type: "file"},
		"no audit device":      {Name: "a", Type: "kafka"},
		"file_path is missing": {Name: "a", Type: "file"},
		"no option \"colour\"": {Name: "a", Type: "file", Options: map[string]string{"file_path": "x", "colour": "red"}},
		"in clear":             {Name: "a", Type: "file", Options: map[string]string{"file_path": "x", "log_raw": "true"}},
		"format must be":       {Name: "a", Type: "file", Options: map[string]string{"file_path": "x", "format": "jsonx"}},
		"mode must be":         {Name: "a", Type: "file", Options: map[string]string{"file_path": "x", "mode": "rw"}},
		"address is missing":   {Name: "a", Type: "socket"},
		"write_timeout must":   {Name: "a", Type: "socket", Options: map[string]string{"address": "x", "write_timeout": "soon"}},
		"facility must be":     {Name: "a", Type: "syslog", Options: map[string]string{"facility": "NOISE"}},
		"tag must be":          {Name: "a", Type: "syslog", Options: map[string]string{"tag": "a b"}},
		"socket_type must be":  {Name: "a", Type: "socket", Options: map[string]string{"address": "x", "socket_type": "pigeon"}},
	} {
		if _, err := audit.OpenDevice(c); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: %v, want %q", c, err, text)
		}
	}
}
