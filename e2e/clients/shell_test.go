// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package clients_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// tool is the path of a program that hack/clients/build made.
func tool(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(must(os.UserCacheDir())(t), "goldkeep", "clients", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v; build it with: hack/clients/build", err)
	}
	return path
}

// TestCommands runs the stock vault command against Goldkeep, and wants what it
// prints, and how it ends, to be what it was with the server it was made for.
func TestCommands(t *testing.T) {
	scripts := must(filepath.Glob("testdata/shell/*.txt"))(t)
	known := readGaps(t)
	var found []string
	for _, script := range scripts {
		name := strings.TrimSuffix(filepath.Base(script), ".txt")
		kept := filepath.Join("testdata", "recorded", name+".txt")
		if *record != "" {
			text := strings.Join(runScript(t, script, startReference(t, name)), "")
			if err := os.WriteFile(kept, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want := transcript(string(must(os.ReadFile(kept))(t)))
		got := transcript(strings.Join(runScript(t, script, startOurs(t, name)), ""))
		if len(want) != len(got) {
			t.Errorf("%s: %d commands, %d recorded: renew them, see testdata/README.md", name, len(got), len(want))
			continue
		}
		for i := range want {
			if want[i] == got[i] {
				continue
			}
			command, _, _ := strings.Cut(got[i], "\n")
			id := fmt.Sprintf("%s/%03d %s", name, i+1, strings.ReplaceAll(command, ": ", " "))
			found = append(found, fmt.Sprintf("%s: %q, the reference has %q", id, rest(got[i]), rest(want[i])))
			if !*gaps && !known[id] {
				t.Errorf("%s\n--- with Goldkeep\n%s\n--- with the reference\n%s", id, got[i], want[i])
			}
		}
	}
	writeGaps(t, shellGaps, found)
}

// operating are scripts for a server that nobody has initialized.
func operating(name string) bool { return strings.HasPrefix(name, "operate") }

func startOurs(t *testing.T, name string) string {
	t.Helper()
	if !operating(name) {
		return startDev(t).url
	}
	addr := freeAddr(t)
	return startServer(t, exec.Command(goldkeep, "server", "--data", t.TempDir(), "--listen", addr, "--insecure-no-tls"), addr)
}

func startReference(t *testing.T, name string) string {
	t.Helper()
	if !operating(name) {
		return startVault(t, *record)
	}
	addr, file := freeAddr(t), filepath.Join(t.TempDir(), "vault.hcl")
	config := fmt.Sprintf("storage \"inmem\" {}\nlistener \"tcp\" {\n  address = %q\n  tls_disable = true\n}\ndisable_mlock = true\n", addr)
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return startServer(t, exec.Command(*record, "server", "-config="+file), addr)
}

func rest(block string) string {
	_, rest, _ := strings.Cut(block, "\n")
	return rest
}

// transcript cuts a recording into commands with what each printed.
func transcript(text string) []string {
	var blocks []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "$ ") {
			blocks = append(blocks, line)
		} else if n := len(blocks); n > 0 {
			blocks[n-1] += line
		}
	}
	return blocks
}

// runScript runs the commands of a script, and returns each with what it
// printed and how it ended, without what chance decides.
func runScript(t *testing.T, script, url string) []string {
	t.Helper()
	home := t.TempDir()
	bin := filepath.Join(home, "bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(tool(t, vaultTool), filepath.Join(bin, "vault")); err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range strings.Lines(string(must(os.ReadFile(script))(t))) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		cmd := exec.CommandContext(ctx, "sh", "-c", line)
		cmd.Dir = home
		cmd.Env = []string{"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + home, "VAULT_ADDR=" + url, "VAULT_MAX_RETRIES=0", "COLUMNS=200"}
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		err := cmd.Run()
		cancel()
		var ended *exec.ExitError
		if err != nil && !errors.As(err, &ended) {
			t.Fatalf("%s: %v", line, err)
		}
		text := strings.ReplaceAll(said.String(), url, "<address>")
		out = append(out, fmt.Sprintf("$ %s\n%s(exit code %d)\n", line, certain(text), cmd.ProcessState.ExitCode()))
	}
	return out
}

// chances are what no two servers print alike.
var chances = []struct {
	is   *regexp.Regexp
	name string
}{
	{regexp.MustCompile(`\b(hvs|hvb|s|b|gk[a-z])\.[A-Za-z0-9_-]{20,}`), "<token>"},
	{regexp.MustCompile(`\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`), "<uuid>"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( [+-]\d{4} [A-Z]+( m=\S+)?|Z|[+-]\d\d:\d\d)?`), "<time>"},
	{regexp.MustCompile(`\b1[78]\d{8}\b`), "<unix time>"},
	{regexp.MustCompile(`(_|\b)[0-9a-f]{8}\b`), "<accessor>"},
	{regexp.MustCompile(`\b[0-9a-f]{32}\b`), "<uuid>"},
	{regexp.MustCompile(`(goldkeep|vault-cluster)-<accessor>`), "<cluster>"},
	{regexp.MustCompile(`(?m)^(version|running_plugin_version)( +)\S+$`), "$1 <version>"},
	{regexp.MustCompile(`vault:v(\d+):[A-Za-z0-9+/=]+`), "vault:v$1:<text>"},
	{regexp.MustCompile(`(?m)^((wrapping_)?accessor:?\s+|token_accessor\s+|wrapping_accessor:\s+)\S+$`), "$1 <accessor>"},
	{regexp.MustCompile(`(map\[[^]]*|\b\d+[ms]\d*s?\b)`), "$1"},
	{regexp.MustCompile(`\b(59m|29m|9m|19m|767h59m)[1-5]\ds\b`), "<just under>"},
	// The CLI prints headers in the order of a Go map.
	{regexp.MustCompile(`(-H "X-Vault-Token: [^"]*") (-H "X-Vault-Request: true")`), "$2 $1"},
	{regexp.MustCompile(`(?m)^(ttl\s+)\S+$`), "$1<ttl>"},
	{regexp.MustCompile(`[ \t]+`), " "},
	{regexp.MustCompile(`-{3,}`), "---"},
	{regexp.MustCompile(`={3,}`), "==="},
	{regexp.MustCompile(`(?m) +$`), ""},
}

func certain(text string) string {
	for _, c := range chances {
		text = c.is.ReplaceAllString(text, c.name)
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text
}

const (
	requestGaps = "testdata/gaps-requests.txt"
	shellGaps   = "testdata/gaps-commands.txt"
	gapReasons  = "testdata/reasons.txt"
	gapsHead    = "# Where Goldkeep answers otherwise than the reference (written by: go test ./e2e/clients -gaps; see testdata/README.md).\n"
)

// readGaps reads which differences are known: request or command, and field.
func readGaps(t *testing.T) map[string]bool {
	t.Helper()
	known := map[string]bool{}
	for _, file := range []string{requestGaps, shellGaps} {
		for line := range strings.Lines(string(must(os.ReadFile(file))(t))) {
			if id, _, ok := strings.Cut(line, ": "); ok && line[0] != '#' && line[0] != ' ' {
				known[id] = true
			}
		}
	}
	return known
}

// reason says why some differences stay: those whose request or command, and
// field, are like the pattern, in which "*" stands for anything.
type reason struct{ pattern, why string }

func readReasons(t *testing.T) (all []reason) {
	t.Helper()
	for line := range strings.Lines(string(must(os.ReadFile(gapReasons))(t))) {
		line = strings.TrimSpace(line)
		if pattern, why, ok := strings.Cut(line, ": "); ok && line[0] != '#' {
			all = append(all, reason{pattern, strings.TrimSpace(why)})
		}
	}
	return all
}

// like compares a text with a pattern.
func like(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	rest, ok := strings.CutPrefix(text, parts[0])
	for i, part := range parts[1:] {
		at := strings.Index(rest, part)
		if i == len(parts)-2 { // the end
			at = strings.LastIndex(rest, part)
		}
		if !ok || at < 0 {
			return false
		}
		rest = rest[at+len(part):]
	}
	return ok && rest == ""
}

// TestGapsHaveReasons refuses a known difference that nobody gives a reason for,
// and a reason for what does not differ.
func TestGapsHaveReasons(t *testing.T) {
	used := map[string]bool{}
	reasons := readReasons(t)
	for id := range readGaps(t) {
		at := slices.IndexFunc(reasons, func(r reason) bool { return like(r.pattern, id) })
		if at < 0 {
			t.Errorf("%s: nobody says why, in %s", id, gapReasons)
			continue
		}
		used[reasons[at].pattern] = true
	}
	for _, r := range reasons {
		if !used[r.pattern] {
			t.Errorf("%s: nothing differs so any more", r.pattern)
		}
	}
}

// writeGaps writes down what was found, and beneath each why it stays.
func writeGaps(t *testing.T, file string, found []string) {
	t.Helper()
	if !*gaps {
		return
	}
	reasons := readReasons(t)
	text := gapsHead
	for _, line := range found {
		text += line + "\n"
		id, _, _ := strings.Cut(line, ": ")
		if at := slices.IndexFunc(reasons, func(r reason) bool { return like(r.pattern, id) }); at >= 0 {
			text += "    " + reasons[at].why + "\n"
		}
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
