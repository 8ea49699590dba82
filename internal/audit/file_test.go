// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package audit_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/audit"
	"github.com/goldkeep/goldkeep/internal/fault"
)

func TestMain(m *testing.M) {
	switch os.Getenv("AUDIT_TEST_CHILD") {
	case "writer":
		childWriter(os.Getenv("AUDIT_TEST_PATH"))
	case "full":
		childFull(os.Getenv("AUDIT_TEST_PATH"))
	default:
		os.Exit(m.Run())
	}
}

func open(t testing.TB, o audit.Options) *audit.File {
	t.Helper()
	if o.Node == "" {
		o.Node = "n1"
	}
	f, err := audit.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func entry(i int) audit.Record {
	return audit.Record{Kind: "request", ID: strconv.Itoa(i), Op: "read", Mount: "secret/", Actor: "acc", Answer: "allow"}
}

func write(t testing.TB, f *audit.File, n int) {
	t.Helper()
	for i := range n {
		if err := f.Append(context.Background(), entry(i)); err != nil {
			t.Fatal(err)
		}
	}
}

func sound(t testing.TB, path string, head audit.Anchor) audit.Result {
	t.Helper()
	files, err := audit.Files(path)
	if err != nil {
		t.Fatal(err)
	}
	res, err := audit.VerifyFiles(context.Background(), files, &head)
	if err != nil || len(res.Problems) > 0 {
		t.Fatalf("not sound: %v %+v", err, res.Problems)
	}
	return res
}

func TestChainGoesOnAcrossRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	for range 3 {
		f := open(t, audit.Options{Path: path})
		write(t, f, 5)
		if err := f.Append(t.Context(), audit.Record{Kind: "event", Sync: true}); err != nil {
			t.Fatal(err)
		}
		head := f.Head()
		_ = f.Close()
		if err := f.Append(t.Context(), entry(0)); !fault.Is(err, fault.Unavailable) {
			t.Errorf("a closed log takes records: %v", err)
		}
		sound(t, path, head)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestRotationCarriesTheChain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	f := open(t, audit.Options{Path: path, MaxSize: 1500})
	write(t, f, 40)
	_ = f.Close()
	files, _ := audit.Files(path)
	if len(files) < 4 {
		t.Fatalf("%d files", len(files))
	}
	if res := sound(t, path, f.Head()); res.Records != 40 {
		t.Errorf("%d records", res.Records)
	}
	// A crash after putting the file aside and before the next one was begun.
	if err := os.Rename(path, fmt.Sprintf("%s.%020d", path, 40)); err != nil {
		t.Fatal(err)
	}
	f = open(t, audit.Options{Path: path})
	write(t, f, 1)
	if f.Head().Seq != 41 {
		t.Errorf("seq %d", f.Head().Seq)
	}
	sound(t, path, f.Head())
	if err := os.Remove(files[1]); err != nil {
		t.Fatal(err)
	}
	left, _ := audit.Files(path)
	if res, _ := audit.VerifyFiles(t.Context(), left, nil); len(res.Problems) != 1 {
		t.Errorf("a missing file in the middle: %+v", res.Problems)
	}
}

func TestTornLineIsKeptAsideAndRecorded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	f := open(t, audit.Options{Path: path})
	write(t, f, 3)
	_ = f.Close()
	whole, _ := os.ReadFile(path)
	lines := bytes.SplitAfter(whole, []byte("\n"))
	keep := len(lines[0]) + len(lines[1])
	for _, torn := range []int{keep + 1, len(whole) - 1} {
		if err := os.WriteFile(path, whole[:torn], 0o600); err != nil {
			t.Fatal(err)
		}
		f = open(t, audit.Options{Path: path})
		write(t, f, 1)
		_ = f.Close()
		sound(t, path, f.Head())
		if f.Head().Seq != 4 { // two kept, one event, one new
			t.Errorf("seq %d", f.Head().Seq)
		}
		aside, err := os.ReadFile(path + ".torn." + strconv.Itoa(keep))
		if err != nil || !bytes.Equal(aside, whole[keep:torn]) {
			t.Errorf("aside %q, %v", aside, err)
		}
		now, _ := os.ReadFile(path)
		if !bytes.Contains(now, []byte("torn last line")) {
			t.Error("the repair is not recorded")
		}
	}
}

func TestDamagedEndIsNotContinued(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	for name, text := range map[string]string{"foreign": "hello\n", "zeros": string(make([]byte, 50)) + "\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := audit.Open(audit.Options{Path: path}); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUnwritable(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Join(dir, "target"), link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/dev/full", dir, filepath.Join(dir, "no", "audit.log"), link} {
		f, err := audit.Open(audit.Options{Path: path})
		if err == nil {
			err = f.Append(t.Context(), entry(1))
		}
		if !fault.Is(err, fault.Unavailable) {
			t.Errorf("%s: %v", path, err)
		}
	}
	f := open(t, audit.Options{Path: filepath.Join(dir, "audit.log")})
	if _, err := audit.Open(audit.Options{Path: filepath.Join(dir, "audit.log")}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("two writers: %v", err)
	}
	_ = f.Close()
	f = open(t, audit.Options{Path: filepath.Join(dir, "audit.log"), MinFree: 1 << 62})
	if err := f.Append(t.Context(), entry(1)); !fault.Is(err, fault.Unavailable) || f.Err() == nil {
		t.Errorf("a disk without reserve: %v", err)
	}
}

func TestDeletedOrReplacedIsNoticed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	f := open(t, audit.Options{Path: path})
	write(t, f, 3)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := f.Append(t.Context(), entry(9)); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("deleted: %v", err)
	}
	write(t, f, 1) // begun anew, and it shows
	now, _ := os.ReadFile(path)
	if !bytes.Contains(now, []byte("begun anew")) || f.Head().Seq != 6 {
		t.Errorf("seq %d: %s", f.Head().Seq, now)
	}
	if res, _ := audit.Verify(t.Context(), bytes.NewReader(now), nil); len(res.Problems) == 0 {
		t.Error("the missing records are not found")
	}
	first := bytes.SplitAfter(now, []byte("\n"))[0]
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, first, 0o600); err != nil { // an older state
		t.Fatal(err)
	}
	for range 2 {
		if err := f.Append(t.Context(), entry(9)); !fault.Is(err, fault.Unavailable) {
			t.Fatalf("replaced: %v", err)
		}
	}
	if err := os.WriteFile(path, now, 0o600); err != nil { // put right
		t.Fatal(err)
	}
	write(t, f, 1)
	if f.Err() != nil {
		t.Error(f.Err())
	}
}

func TestDetailIsSealed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	seal := func(b []byte) ([]byte, error) { return bytes.ToUpper(b), nil }
	f := open(t, audit.Options{Path: path, Seal: func(b []byte) ([]byte, error) { return seal(b) }})
	rec := entry(1)
	rec.Detail = []byte("planted")
	if err := f.Append(t.Context(), rec); err != nil {
		t.Fatal(err)
	}
	seal = func([]byte) ([]byte, error) { return nil, fault.New(fault.Sealed, "sealed") }
	if err := f.Append(t.Context(), rec); err != nil {
		t.Errorf("while sealed: %v", err)
	}
	seal = func([]byte) ([]byte, error) { return nil, errors.New("broken") }
	if err := f.Append(t.Context(), rec); err == nil {
		t.Error("logged without its detail")
	}
	now, _ := os.ReadFile(path)
	if bytes.Contains(now, []byte("planted")) || f.Head().Seq != 2 {
		t.Error("detail in clear, or a wrong number of records")
	}
}

// child runs this test program as another process.
func child(t *testing.T, mode, path string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "AUDIT_TEST_CHILD="+mode, "AUDIT_TEST_PATH="+path)
	cmd.Stderr = os.Stderr
	return cmd
}

// childWriter appends from four goroutines for ever and prints each record's
// number once it was taken.
func childWriter(path string) {
	f, err := audit.Open(audit.Options{Path: path, Node: "child"})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				rec := entry(i)
				rec.Sync = g == 0
				if err := f.Append(context.Background(), rec); err != nil {
					os.Exit(1)
				}
				fmt.Println("ok")
			}
		})
	}
	wg.Wait()
}

func TestKilledWriterLosesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	taken := 0
	rounds := 25
	if testing.Short() {
		rounds = 5
	}
	for range rounds {
		cmd := child(t, "writer", path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		stopAt := rand.IntN(300)
		for n := 0; lines.Scan(); n++ {
			taken++
			if n == stopAt {
				_ = cmd.Process.Kill()
			}
		}
		_ = cmd.Wait()
		f := open(t, audit.Options{Path: path})
		head := f.Head()
		_ = f.Close()
		if res := sound(t, path, head); res.Records < taken {
			t.Fatalf("%d records, but %d were taken", res.Records, taken)
		}
	}
}

// childFull fills a file up to a size limit, which gives the same short write
// as a full disk, and then goes on with more room.
func childFull(path string) {
	fail := func(text string, err error) {
		fmt.Println(text, err)
		os.Exit(1)
	}
	signal.Ignore(syscall.SIGXFSZ)
	limit := func(n uint64) {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: 1 << 30}); err != nil {
			fail("limit", err)
		}
	}
	limit(4000)
	f, err := audit.Open(audit.Options{Path: path, Node: "child"})
	if err != nil {
		fail("open", err)
	}
	n := 0
	for ; n < 1000; n++ {
		if err = f.Append(context.Background(), entry(n)); err != nil {
			break
		}
	}
	if !fault.Is(err, fault.Unavailable) || f.Err() == nil {
		fail("the disk is never full", err)
	}
	if err := f.Append(context.Background(), entry(n)); err == nil {
		fail("took a record on a full disk", nil)
	}
	limit(1 << 20)
	if err := f.Append(context.Background(), entry(n)); err != nil || f.Err() != nil {
		fail("does not recover", err)
	}
	head := f.Head()
	_ = f.Close()
	res, err := audit.VerifyFiles(context.Background(), []string{path}, &head)
	if err != nil || len(res.Problems) > 0 || res.Records < n+2 {
		fail(fmt.Sprintf("%+v", res), err)
	}
	fmt.Print("fine")
}

func TestFullDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	out, err := child(t, "full", path).Output()
	if err != nil || string(out) != "fine" {
		t.Errorf("%s, %v", out, err)
	}
	now, _ := os.ReadFile(path)
	if !strings.Contains(string(now), "was not writable for a time") {
		t.Error("the failure is not recorded")
	}
}

func TestTimeIsPassedIn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	f := open(t, audit.Options{Path: path, Now: func() time.Time { return time.Unix(1, 0) }})
	write(t, f, 1)
	now, _ := os.ReadFile(path)
	if !bytes.Contains(now, []byte(`"time":"1970-01-01T00:00:01Z"`)) {
		t.Errorf("%s", now)
	}
}

func BenchmarkAppend16(b *testing.B) {
	for name, sync := range map[string]bool{"written": false, "on disk": true} {
		b.Run(name, func(b *testing.B) {
			f := open(b, audit.Options{Path: filepath.Join(b.TempDir(), "audit.log")})
			b.SetParallelism(8) // of 2 processors: 16 writers
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					rec := entry(1)
					rec.Sync = sync
					if err := f.Append(context.Background(), rec); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
		})
	}
}
