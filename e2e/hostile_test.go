// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// memoryBar is how much memory a server may ever use in these tests, in KiB.
const memoryBar = 512 << 10

// limited is a server that cannot hide what hostile input costs it.
func limited(t *testing.T) *server {
	t.Helper()
	return newServer(t, func(s *server, _ config) { s.env = []string{"GOMEMLIMIT=400MiB"} })
}

// peak is the most memory the server has used so far, in KiB.
func (s *server) peak() int {
	s.t.Helper()
	for line := range strings.Lines(string(must(os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid)))(s.t))) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			return must(strconv.Atoi(strings.Fields(rest)[0]))(s.t)
		}
	}
	s.t.Fatal("the server is gone")
	return 0
}

// alive checks that it answers, with memory in bounds and no stack trace said.
func (s *server) alive(after string) {
	s.t.Helper()
	if status, body := s.ask(s.root, "GET", "/v1/auth/token/lookup-self", ""); status != 200 {
		s.t.Errorf("after %s it answers %d %s", after, status, body)
	}
	if peak := s.peak(); peak > memoryBar {
		s.t.Errorf("after %s it has used %d MiB", after, peak>>10)
	}
	if said := s.out.String(); strings.Contains(said, "goroutine ") || strings.Contains(said, "panic") {
		s.t.Errorf("after %s it says:\n%s", after, said)
	}
}

// upload sends a file as an image.
func (s *server) upload(body io.Reader) (int, string) {
	s.t.Helper()
	req := must(newRequest(s, "POST", "/api/v1/images?name=hostile", ""))(s.t)
	req.Body, req.ContentLength = io.NopCloser(body), -1
	resp, err := s.http.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}

// TestHostileImages: each ends in an image or one clear error, soon, and the
// server goes on. GOLDKEEP_DATA adds the folder images/hostile below it.
func TestHostileImages(t *testing.T) {
	s := limited(t)
	files := must(filepath.Glob("../internal/*/testdata/hostile/*.tar"))(t)
	if data := os.Getenv("GOLDKEEP_DATA"); data != "" {
		files = append(files, must(filepath.Glob(filepath.Join(data, "images", "hostile", "*.tar")))(t)...)
	}
	if len(files) < 10 {
		t.Fatalf("only %d hostile images", len(files))
	}
	for _, path := range files {
		name := filepath.Base(path)
		f := must(os.Open(path))(t)
		began := time.Now()
		status, body := s.upload(f)
		took := time.Since(began)
		var answer struct{ Kind, Detail, State, Error string }
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			t.Errorf("%s: %d %s", name, status, body)
		}
		t.Logf("%-28s %d in %4d ms, peak %3d MiB: %s%s%s", name, status, took.Milliseconds(), s.peak()>>10, answer.State, answer.Detail, answer.Error)
		if status != 200 && (status < 400 || status >= 500 || answer.Detail == "" || strings.Contains(answer.Detail, "\n")) || took > 30*time.Second {
			t.Errorf("%s: %d after %s: %s", name, status, took, body)
		}
		s.alive(name)
		_ = f.Close()
	}
	left := must(filepath.Glob(s.path("data", "upload-*")))(t)
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// zeros is a body without end, up to n bytes.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestHostileBodies(t *testing.T) {
	s := limited(t)
	status, body := s.upload(io.LimitReader(zeros{}, 1<<30))
	if status != 400 && status != 413 && status != 0 {
		t.Errorf("a gigabyte of nothing: %d %s", status, body)
	}
	s.alive("a gigabyte of nothing")
	deep := strings.Repeat("[", 200_000)
	rules := func(n int) string {
		return strings.Repeat(`path "a/b" { capabilities = ["read"] }`+"\n", n)
	}
	for name, ask := range map[string]struct{ path, body string }{
		"deep JSON to /v1":         {"/v1/secret/data/a", `{"data":` + deep},
		"deep JSON to /api":        {"/api/v1/apply", `{"documents":` + deep},
		"closed deep JSON to /api": {"/api/v1/apply", `{"documents":` + deep + strings.Repeat("]", 200_000) + `}`},
		"40 MB":                    {"/v1/secret/data/a", `{"data":{"a":"` + strings.Repeat("x", 40<<20) + `"}}`},
		"40 MB to /api":            {"/api/v1/apply", `{"documents":[{"text":"` + strings.Repeat("x", 40<<20) + `"}]}`},
		"policy of 4 MB":           {"/v1/sys/policies/acl/big", string(must(json.Marshal(map[string]string{"policy": rules(100_000)}))(t))},
		"policy that nests":        {"/v1/sys/policies/acl/deep", string(must(json.Marshal(map[string]string{"policy": strings.Repeat("path a {", 50_000)}))(t))},
		"policy of brackets":       {"/v1/sys/policies/acl/deep", string(must(json.Marshal(map[string]string{"policy": `path "a" { capabilities = ` + strings.Repeat("[", 100_000)}))(t))},
		"manifest of aliases":      {"/api/v1/apply", string(must(json.Marshal(map[string]any{"documents": []map[string]string{{"file": "x", "text": aliases()}}}))(t))},
		"manifest that nests":      {"/api/v1/apply", string(must(json.Marshal(map[string]any{"documents": []map[string]string{{"file": "x", "text": strings.Repeat("{a: ", 20_000)}}}))(t))},
	} {
		began := time.Now()
		status, body := s.ask(s.root, "POST", ask.path, ask.body)
		if status < 400 || status >= 500 || len(body) > 4096 {
			t.Errorf("%s: %d %.300s", name, status, body)
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("%s took %s", name, took)
		}
		s.alive(name)
	}
	req := must(newRequest(s, "GET", "/v1/sys/health", ""))(t)
	req.Header.Set("X-Big", strings.Repeat("x", 1<<20))
	resp, err := s.http.Do(req)
	if err == nil {
		if resp.StatusCode != 431 {
			t.Errorf("a huge header: %d", resp.StatusCode)
		}
		_ = resp.Body.Close()
	}
	s.alive("a huge header")
}

// aliases is the YAML that grows a thousandfold with each line.
func aliases() string {
	var b strings.Builder
	b.WriteString("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	return b.String()
}

// TestHostileConnections: garbage, the wrong protocol, and connections that say
// little or nothing, many at once; honest clients are still answered.
func TestHostileConnections(t *testing.T) {
	s := limited(t)
	dial := func() net.Conn { return must(net.Dial("tcp", s.addr))(t) }
	dice := rand.New(rand.NewPCG(7, 7))
	for range 3000 { // garbage to a TLS door
		c := dial()
		junk := make([]byte, 1+dice.IntN(400))
		for i := range junk {
			junk[i] = byte(dice.Uint32())
		}
		_, _ = c.Write(junk) // the server may have hung up
		_ = c.Close()
	}
	s.alive("garbage")
	plain := &http.Client{Timeout: patience}
	if resp, err := plain.Get("http://" + s.addr + "/v1/sys/health"); err == nil {
		if resp.StatusCode != 400 {
			t.Errorf("plain HTTP to the TLS door: %d", resp.StatusCode)
		}
		_ = resp.Body.Close()
	}
	old := &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}
	if c, err := tls.Dial("tcp", s.addr, old); err == nil {
		_ = c.Close()
		t.Error("TLS 1.1 is accepted")
	}
	t.Run("slow headers", func(t *testing.T) {
		var slow []*tls.Conn
		for range 500 {
			c := must(tls.Dial("tcp", s.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}))(t)
			if _, err := io.WriteString(c, "GET /v1/sys/health HTTP/1.1\r\nHost: x\r\nX-Slow: "); err != nil {
				t.Fatal(err)
			}
			slow = append(slow, c)
		}
		s.alive("slow headers")
		for _, c := range slow[:3] {
			_ = c.SetReadDeadline(time.Now().Add(patience))
			if _, err := bufio.NewReader(c).ReadString('\n'); err == nil {
				t.Error("half a request is answered")
			} else if strings.Contains(err.Error(), "timeout") {
				t.Error("the server waits for ever for the rest of a request")
			}
		}
		for _, c := range slow {
			_ = c.Close()
		}
	})
	t.Run("half bodies of strangers", func(t *testing.T) {
		const size = 7 << 20
		part := strings.Repeat("x", size-1)
		var all sync.WaitGroup
		var mu sync.Mutex
		var open []net.Conn
		for i := range 120 {
			all.Go(func() {
				c, err := tls.Dial("tcp", s.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
				if err != nil {
					return
				}
				mu.Lock()
				open = append(open, c)
				mu.Unlock()
				_ = c.SetWriteDeadline(time.Now().Add(4 * time.Second))
				path := []string{"/v1/secret/data/a", "/api/v1/apply"}[i%2]
				_, _ = fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n{\"data\":\"%s", path, size+10, part) // refused is fine
			})
		}
		all.Wait()
		s.alive("half bodies of strangers")
		for _, c := range open {
			_ = c.Close()
		}
	})
	s.alive("all")
}
