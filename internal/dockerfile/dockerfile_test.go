// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package dockerfile_test

import (
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/goldkeep/goldkeep/internal/dockerfile"
	"github.com/goldkeep/goldkeep/internal/fault"
)

const (
	digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	pinned = "FROM debian:12@" + digest + "\n"
	good   = "LABEL owner=team\nUSER 10001\n"
)

// github has the form of a token; it is put together so that nobody takes it for one.
var github = "gh" + "p_" + "q7Rk2ZbV9xTn4LmW8sHd1JcYf6GpA3uE0oKi"

// findings writes them as "line rule", those ignored with "(ignored)".
func findings(t testing.TB, text string, o dockerfile.Options) []string {
	t.Helper()
	r, err := dockerfile.Check(strings.NewReader(text), o)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	out := []string{}
	for _, f := range r.Findings {
		line := fmt.Sprint(f.Line, " ", f.Rule)
		if f.Ignored != "" {
			line += " (ignored)"
		}
		out = append(out, line)
		if f.What == "" || f.Why == "" || f.Instead == "" || f.Severity == "" || strings.Contains(f.What, github) || strings.Contains(f.What, "k3Zq9vLw") {
			t.Errorf("finding %+v", f)
		}
	}
	return out
}

func TestRules(t *testing.T) {
	lowAPT := []string{"2 apt-recommends", "2 unpinned-packages", "2 apt-cleanup"}
	for name, tt := range map[string]struct {
		text string
		want []string
	}{
		"clean":                {pinned + good, []string{}},
		"scratch":              {"FROM scratch\nCOPY app /\n" + good, []string{}},
		"no tag":               {"FROM debian\n" + good, []string{"1 from-latest"}},
		"latest":               {"FROM registry:5000/x/debian:latest\n" + good, []string{"1 from-latest"}},
		"port is no tag":       {"FROM registry:5000/debian\n" + good, []string{"1 from-latest"}},
		"tag":                  {"FROM debian:12\n" + good, []string{"1 from-unpinned"}},
		"argument":             {"ARG BASE=debian\nARG TAG=12\nFROM ${BASE}:${TAG}\n" + good, []string{"3 from-unpinned"}},
		"argument pinned":      {"ARG BASE=debian:12@" + digest + "\nFROM $BASE\n" + good, []string{}},
		"argument unknown":     {"ARG BASE\nFROM $BASE\n" + good, []string{"2 from-variable"}},
		"argument default":     {"FROM ${BASE:-debian:12}\n" + good, []string{"1 from-unpinned"}},
		"stages by name":       {"FROM debian:12@" + digest + " AS base\nUSER 10001\nLABEL owner=x\nFROM BASE AS next\nFROM next\n", []string{}},
		"platform":             {"FROM --platform=$BUILDPLATFORM debian:12@" + digest + "\n" + good, []string{}},
		"build stage unpinned": {"FROM golang:1.26 AS build\nFROM scratch\nCOPY --from=build /app /\n" + good, []string{"1 from-unpinned"}},
		"value in ENV":         {pinned + "ENV DB_PASSWORD=k3Zq9vLw\n" + good, []string{"2 secret-name"}},
		"token in ENV":         {pinned + "ENV X=" + github + "\n" + good, []string{"2 secret-value"}},
		"token in ARG":         {pinned + "ARG TOKEN=" + github + "\n" + good, []string{"2 secret-value"}},
		"secret ARG":           {pinned + "ARG NPM_TOKEN\n" + good, []string{"2 secret-arg"}},
		"secret ARG to ENV":    {pinned + "ARG NPM_TOKEN\nENV NPM_TOKEN=$NPM_TOKEN\n" + good, []string{"2 secret-arg", "3 secret-name"}},
		"path, not value":      {pinned + "ENV DB_PASSWORD_FILE=/run/secrets/db TOKEN=/run/x\n" + good, []string{}},
		"URL in RUN":           {pinned + "RUN git clone https://bot:k3Zq9vLw@git.internal/x\n" + good, []string{"2 secret-value"}},
		"heredoc":              {pinned + "RUN <<EOF\nset -e\nexport TOKEN=" + github + "\nEOF\n" + good, []string{"2 secret-value"}},
		"heredoc file":         {pinned + "COPY <<EOF /root/.netrc\nmachine x login y password k3Zq9vLw\nEOF\n" + good, []string{"2 secret-value"}},
		"label":                {pinned + "LABEL note=" + github + "\n" + good, []string{"2 secret-value"}},
		"command":              {pinned + good + "CMD [\"app\", \"--db-password=k3Zq9vLw\"]\n", []string{"4 secret-value"}},
		"copied":               {pinned + "COPY .env id_rsa /root/\nADD config/tls.key .npmrc /x/\nCOPY ca.pem id_rsa.pub .env.example /x/\n" + good, []string{"2 secret-file", "2 secret-file", "3 secret-file", "3 secret-file"}},
		"copied folder":        {pinned + "COPY .ssh/ /root/.ssh/\n" + good, []string{"2 secret-file"}},
		"mounted":              {pinned + "RUN --mount=type=secret,id=npm,target=/root/.npmrc npm ci\n" + good, []string{}},
		"no user":              {pinned + "LABEL owner=x\n", []string{"1 root"}},
		"root":                 {pinned + good + "USER root\n", []string{"4 root"}},
		"zero":                 {pinned + "LABEL owner=x\nUSER 0:0\n", []string{"3 root"}},
		"user of an ARG":       {pinned + "LABEL owner=x\nARG UID=0\nUSER $UID\n", []string{"4 root"}},
		"root, then not":       {pinned + "USER root\n" + good, []string{}},
		"nonroot":              {"FROM gcr.io/distroless/static:nonroot@" + digest + "\nLABEL owner=x\n", []string{}},
		"user of the parent":   {"FROM debian:12@" + digest + " AS a\n" + good + "FROM a\nLABEL owner=x\nUSER root\n", []string{"6 root"}},
		"no owner":             {pinned + "USER 1\n", []string{"1 owner-label"}},
		"maintainer":           {pinned + "MAINTAINER me\nUSER 1\n", []string{"2 buildkit"}},
		"compiler":             {pinned + "RUN apt-get update && apt-get install -y --no-install-recommends gcc=4:12 libc6=2 && rm -rf /var/lib/apt/lists/*\n" + good, []string{"1 compiler-in-last-stage"}},
		"compiler removed":     {pinned + "RUN apt-get update && apt-get install -y --no-install-recommends gcc=4:12 && make && apt-get purge -y gcc && rm -rf /var/lib/apt/lists/*\n" + good, []string{}},
		"compiler in build":    {"FROM debian:12@" + digest + " AS b\nRUN apk add gcc=1\n" + pinned + "COPY --from=b /x /x\n" + good, []string{}},
		"virtual":              {pinned + "RUN apk add --no-cache --virtual .build-deps gcc=1 && make && apk del .build-deps\n" + good, []string{}},
		"sdk":                  {"FROM golang:1.26@" + digest + "\n" + good, []string{"1 compiler-in-last-stage"}},
		"apt":                  {pinned + "RUN apt-get update && apt-get install -y curl\n" + good, lowAPT},
		"apt lines":            {pinned + "RUN apt-get update && \\\n    # a comment\n    apt-get install -y \\\n      curl=1 \\\n      jq\n" + good, lowAPT},
		"apt cached":           {pinned + "RUN --mount=type=cache,target=/var/lib/apt apt-get update && apt-get install -y --no-install-recommends curl=1\n" + good, []string{}},
		"apt update alone":     {pinned + "RUN apt-get update\n" + good, []string{"2 apt-update-alone"}},
		"apk":                  {pinned + "RUN apk add --no-cache curl jq=1.7-r0\n" + good, []string{"2 unpinned-packages"}},
		"dnf":                  {pinned + "RUN dnf install -y nginx-1.24.0 && microdnf install httpd\n" + good, []string{"2 unpinned-packages"}},
		"pip":                  {pinned + "RUN pip install --no-cache-dir -i https://i.internal flask==3.0 requests && python3 -m pip --version\n" + good, []string{"2 unpinned-dependencies"}},
		"pip files":            {pinned + "RUN pip install -r requirements.txt && pip install . && pip install ./x.whl\n" + good, []string{}},
		"npm":                  {pinned + "RUN npm install -g yarn && npm i -g pnpm@9.1.0 && npm ci && npm install\n" + good, []string{"2 unpinned-dependencies"}},
		"go":                   {pinned + "RUN go install example.com/x@latest && go install example.com/y@v1.2.3 && go install ./...\n" + good, []string{"2 unpinned-dependencies"}},
		"gem":                  {pinned + "RUN gem install rails && gem install rake -v 13.0\n" + good, []string{"2 unpinned-dependencies"}},
		"cargo":                {pinned + "RUN cargo install ripgrep && cargo install fd --version 1\n" + good, []string{"2 unpinned-dependencies"}},
		"add url":              {pinned + "ADD https://x.internal/a.tgz /a\nADD --checksum=" + digest + " https://x.internal/b.tgz /b\n" + good, []string{"2 add-url"}},
		"add git":              {pinned + "ADD https://x.internal/a.git#main /a\nADD https://x.internal/a.git#0123456789012345678901234567890123456789 /b\n" + good, []string{"2 add-url"}},
		"pipe":                 {pinned + "RUN curl -fsSL https://x.internal/i.sh | bash -s -- -y\n" + good, []string{"2 pipe-to-shell"}},
		"pipe through":         {pinned + "RUN wget -qO- https://x.internal/i.sh | tee /i.sh | sudo bash\n" + good, []string{"2 pipe-to-shell", "2 sudo"}},
		"pipe inside":          {pinned + "RUN [\"bash\", \"-c\", \"curl https://x.internal | sh\"]\n" + good, []string{"2 pipe-to-shell"}},
		"substituted":          {pinned + "RUN bash -c \"$(curl -fsSL https://x.internal/i.sh)\"\n" + good, []string{"2 pipe-to-shell"}},
		"piped into a filter":  {pinned + "RUN curl https://x.internal | jq -r .a | python3 -c 'import sys' && curl x | tar xz\n" + good, []string{}},
		"insecure":             {pinned + "RUN curl -fsSLk https://x.internal -o x && wget --no-check-certificate https://y && curl http://z.internal/f\n" + good, []string{"2 unverified-download", "2 unverified-download", "2 unverified-download"}},
		"http to itself":       {pinned + "RUN curl -f http://localhost:8080/health\n" + good, []string{}},
		"chmod":                {pinned + "RUN chmod -R 777 /app && chmod 0755 /x && chmod a+w /y && chmod u+w /z && chmod 1777 /tmp\n" + good, []string{"2 world-writable", "2 world-writable", "2 world-writable"}},
		"ssh":                  {pinned + "RUN apk add openssh-server=1\nEXPOSE 22 8080\n" + good, []string{"2 remote-login", "3 remote-login"}},
		"onbuild":              {pinned + "ONBUILD ADD https://x.internal/a /a\nONBUILD ENV A_TOKEN=" + github + "\n" + good, []string{"2 add-url", "3 secret-value"}},
		"unknown":              {pinned + "FRMO x\n" + good, []string{"2 syntax"}},
		"ignored":              {pinned + "# goldkeep ignore add-url, sudo: it is ours\nADD https://x.internal/a /a\n" + good, []string{"3 add-url (ignored)"}},
		"ignored no reason":    {pinned + "# goldkeep ignore add-url\nADD https://x.internal/a /a\n" + good, []string{"3 add-url", "3 ignore-without-reason"}},
		"ignored elsewhere":    {pinned + "# goldkeep ignore add-url: it is ours\nRUN true\nADD https://x.internal/a /a\n" + good, []string{"4 add-url"}},
		"root ignored":         {pinned + good + "# goldkeep ignore root: needs port 53\nUSER root\n", []string{"5 root (ignored)"}},
		"skip directive":       {"# check=skip=SecretsUsedInArgOrEnv,add-url\n" + pinned + "ENV DB_PASSWORD=k3Zq9vLw\nADD https://x.internal/a /a\n" + good, []string{}},
		"skip all":             {"# check=skip=all\n" + pinned + "ENV DB_PASSWORD=k3Zq9vLw\nMAINTAINER x\n" + good, []string{"3 secret-name"}},
		"escape directive":     {"# escape=`\n" + pinned + "RUN curl https://x.internal `\n | sh\n" + good, []string{"3 pipe-to-shell"}},
		"windows line ends":    {strings.ReplaceAll(pinned+"ADD https://x.internal/a /a\n"+good, "\n", "\r\n"), []string{"2 add-url"}},
		"exec form":            {pinned + "RUN [\"apt-get\", \"update\"]\n" + good, []string{"2 apt-update-alone"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(slices.Sorted(slices.Values(tt.want)), slices.Sorted(slices.Values(findings(t, tt.text, dockerfile.Options{})))); diff != "" {
				t.Errorf("%s\n%s", diff, tt.text)
			}
		})
	}
}

func TestFailed(t *testing.T) {
	for text, want := range map[string]bool{
		pinned + good: false, "FROM debian:12\n" + good: false, "FROM debian\n" + good: true,
		"# goldkeep ignore from-latest: a test\nFROM debian\n" + good: false,
	} {
		r, err := dockerfile.Check(strings.NewReader(text), dockerfile.Options{})
		if err != nil || r.Failed() != want {
			t.Errorf("%q: %v %+v", text, err, r)
		}
	}
}

func TestGolden(t *testing.T) {
	o := dockerfile.Options{Golden: []dockerfile.Golden{{Name: "debian-base", Digests: []string{digest}}}}
	for text, want := range map[string][]string{
		"FROM anything@" + digest + "\n": {},
		"FROM scratch\n":                 {},
		"FROM r.internal/debian-base:1@sha256:" + strings.Repeat("0", 64) + "\n": {"1 from-not-golden"},
		"FROM debian:12\n": {"1 from-not-golden", "1 from-unpinned"},
		"FROM debian:12 AS b\nFROM x@" + digest + "\n": {"1 from-unpinned"},
		"FROM debian:12 AS b\nFROM b\n":                {"1 from-not-golden", "1 from-unpinned"},
	} {
		if diff := cmp.Diff(want, append([]string{}, slices.Sorted(slices.Values(findings(t, text+good, o)))...)); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
	}
}

func TestBuildArguments(t *testing.T) {
	text := "ARG BASE\nFROM $BASE\n" + good
	if got := findings(t, text, dockerfile.Options{Args: map[string]string{"BASE": "x@" + digest}}); len(got) > 0 {
		t.Errorf("got %v", got)
	}
}

func TestContext(t *testing.T) {
	context := fstest.MapFS{
		"src/main.go":        {Data: []byte("package main")},
		"src/deploy/key.pem": {Data: []byte("no key at all")},
		"conf/app.env":       {Data: []byte("TOKEN=" + github)},
		"conf/ok/readme":     {Data: []byte("nothing")},
	}
	check := func(ignore string, instruction string) []string {
		with := fstest.MapFS{}
		for k, v := range context {
			with[k] = v
		}
		if ignore != "" {
			with[".dockerignore"] = &fstest.MapFile{Data: []byte(ignore)}
		}
		return findings(t, pinned+instruction+"\n"+good, dockerfile.Options{Context: fs.FS(with)})
	}
	hit := []string{"2 secret-in-context"}
	for _, tt := range []struct {
		ignore, instruction string
		want                []string
	}{
		{"", "COPY . /app", hit},
		{"", "COPY conf/ /app", hit},
		{"", "COPY c*/ /app", hit},
		{"", "COPY src /app", []string{}},
		{"", "COPY --from=x . /app", []string{}},
		{"**/*.env", "COPY . /app", []string{}},
		{"conf", "COPY . /app", []string{}},
		{"# no\n*\n!src\n", "COPY . /app", []string{}},
		{"*\n!conf/app.env", "COPY . /app", hit},
		{"*.env", "COPY . /app", hit}, // names at the top only
		{"", "COPY ../../etc /app", []string{}},
	} {
		if diff := cmp.Diff(tt.want, check(tt.ignore, tt.instruction)); diff != "" {
			t.Errorf("%s with %q: %s", tt.instruction, tt.ignore, diff)
		}
	}
}

func TestLimits(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		kind fault.Kind
	}{
		"a million lines": {pinned + strings.Repeat("RUN true\n", 1_000_000), fault.TooLarge},
		"many bytes":      {pinned + "RUN " + strings.Repeat("x", dockerfile.MaxBytes), fault.TooLarge},
		"a long line":     {pinned + "RUN " + strings.Repeat("x", 100_000), fault.TooLarge},
		"empty":           {"", fault.Invalid},
		"heredoc":         {pinned + "RUN <<EOF\nx\n", fault.Invalid},
		"binary":          {"\x00\xff\x1b[2J", fault.Internal},
		"many heredocs":   {pinned + "RUN <<EOF\n" + strings.Repeat("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n", dockerfile.MaxLines-5) + "EOF\n", fault.Internal},
		"deep braces":     {pinned + "ENV A=" + strings.Repeat("${a:-", 10_000) + "\n", fault.Internal},
		"nested shells":   {pinned + "RUN " + strings.Repeat("sh -c '", 5000) + "\n", fault.Internal},
	} {
		r, err := dockerfile.Check(strings.NewReader(tt.text), dockerfile.Options{})
		t.Logf("%s: %v", name, err)
		switch {
		case tt.kind == fault.Internal && err == nil && r == nil, tt.kind != fault.Internal && !fault.Is(err, tt.kind):
			t.Errorf("%s: %v", name, err)
		case err != nil && len(err.Error()) > 500:
			t.Errorf("%s: a long error", name)
		}
	}
}

// TestEveryRuleIsDocumented compares docs/dockerfile.md with the rules.
func TestEveryRuleIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/dockerfile.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented, want []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| (high|medium|low) \\|").FindAllStringSubmatch(string(page), -1) {
		documented = append(documented, m[1]+" "+m[2])
	}
	for _, r := range dockerfile.Rules {
		want = append(want, r.ID+" "+string(r.Severity))
	}
	if diff := cmp.Diff(want, documented); diff != "" {
		t.Error(diff)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add(pinned + "RUN <<EOF\nx | y\nEOF\nONBUILD COPY . /\nENV A=${B:-c} D='e'\n" + good)
	f.Add("# escape=`\nARG A=1\nFROM $A AS b\nRUN [\"sh\", \"-c\", \"curl x | sh\"]\nADD https://x /y\n")
	f.Add("FROM a\nRUN sudo sh -c 'apt-get install \"x y\" && `curl x`' > /dev/null 2>&1 # c\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := dockerfile.Check(strings.NewReader(text), dockerfile.Options{Context: fstest.MapFS{".dockerignore": {Data: []byte(text)}, "a/.env": {Data: []byte(text)}}})
		if err != nil {
			if fault.KindOf(err) == fault.Internal {
				t.Errorf("an error without a kind: %v", err)
			}
			return
		}
		for _, finding := range r.Findings {
			if finding.Line < 1 || finding.What == "" || strings.ContainsAny(finding.What, "\n\x1b\x00") {
				t.Errorf("finding %+v", finding)
			}
		}
	})
}
