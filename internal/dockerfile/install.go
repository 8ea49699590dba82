// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"regexp"
	"slices"
	"strings"
)

// manager is a program that installs packages.
type manager struct {
	verbs   []string
	system  bool                  // packages of the distribution
	pinned  func(pkg string) bool // does it name a version?
	valued  []string              // switches with a value in the next word
	locked  []string              // words that say a lock file or the like decides
	globals bool                  // only with -g: otherwise the lock file decides
}

func hasSign(signs ...string) func(string) bool {
	return func(pkg string) bool {
		return slices.ContainsFunc(signs, func(s string) bool { return strings.Contains(pkg, s) })
	}
}

// versionedRPM matches name-1.2.3-4 and name-1.2.3.
var versionedRPM = regexp.MustCompile(`-\d+[.:]`)

// atVersion matches name@1.2.3, not name@latest.
func atVersion(pkg string) bool {
	at := strings.LastIndexByte(pkg, '@')
	if at <= 0 {
		return false
	}
	v := pkg[at+1:]
	return v != "" && !slices.Contains([]string{"latest", "next", "master", "main", "HEAD", "upgrade", "patch"}, v)
}

var (
	apt  = manager{verbs: []string{"install"}, system: true, pinned: hasSign("="), valued: []string{"-t", "--target-release", "-o", "-c"}}
	rpm  = manager{verbs: []string{"install", "groupinstall"}, system: true, pinned: versionedRPM.MatchString, valued: []string{"--installroot", "--releasever", "--setopt"}}
	pip  = manager{verbs: []string{"install"}, pinned: hasSign("==", "===", "@"), valued: []string{"-r", "--requirement", "-c", "--constraint", "-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--trusted-host", "-t", "--target", "--prefix", "--root", "--no-binary", "--only-binary", "--platform", "--python-version", "--timeout", "--retries"}}
	node = manager{verbs: []string{"install", "i", "add", "global"}, pinned: atVersion, globals: true, valued: []string{"--registry", "--prefix", "--cache", "--loglevel"}}

	managers = map[string]manager{
		"apt-get": apt, "apt": apt,
		"apk": {verbs: []string{"add"}, system: true, pinned: hasSign("=", "~"), valued: []string{"-t", "--virtual", "-X", "--repository", "--root", "-p"}},
		"yum": rpm, "dnf": rpm, "microdnf": rpm, "tdnf": rpm, "zypper": {verbs: []string{"install", "in"}, system: true, pinned: hasSign("=", "-1", "-2")},
		"pip": pip, "pip3": pip, "pipx": pip, "uv": pip,
		"npm": node, "yarn": node, "pnpm": node,
		"gem":   {verbs: []string{"install"}, pinned: hasSign(":"), locked: []string{"-v", "--version"}, valued: []string{"-v", "--version", "--source", "-i"}},
		"go":    {verbs: []string{"install", "get"}, pinned: func(pkg string) bool { return atVersion(pkg) || !strings.Contains(pkg, "@") }, valued: []string{"-ldflags", "-tags", "-o"}},
		"cargo": {verbs: []string{"install"}, pinned: atVersion, locked: []string{"--version", "--vers", "--rev", "--path"}, valued: []string{"--version", "--vers", "--git", "--root", "--path", "--features", "--branch", "--tag", "--rev"}},
	}
)

// buildTools are packages that bring compilers, in all distributions.
var buildTools = regexp.MustCompile(`^(?:build-essential|build-base|alpine-sdk|base-devel|gcc(?:-\d+)?|g\+\+(?:-\d+)?|gcc-c\+\+|clang(?:-\d+)?|cmake|make|golang(?:-go|-\d[\d.]*)?|go|rustc|cargo|maven|gradle|openjdk-\d+-jdk(?:-headless)?|openjdk\d+|default-jdk(?:-headless)?|java-[\d.]+-openjdk-devel|python3?-dev|linux-headers.*|libc6-dev|musl-dev|glibc-devel)$`)

var loginServers = []string{"openssh-server", "openssh", "dropbear", "telnetd", "inetutils-telnetd", "xrdp"}

// install judges what a package manager is asked to install.
func (r runStep) install(m manager, c call) {
	verb := slices.IndexFunc(c.words, func(w string) bool { return slices.Contains(m.verbs, w) })
	if verb < 0 {
		if removes(c) {
			r.stage.compilers = slices.DeleteFunc(r.stage.compilers, func(name string) bool { return c.has(name, ".build-deps") })
		}
		return
	}
	if m.globals && !c.has("-g", "--global", "global", "--location=global") || slices.ContainsFunc(m.locked, func(w string) bool { return c.has(w) }) {
		return
	}
	var loose []string
	for _, pkg := range m.packages(c.words[verb+1:]) {
		bare, _, _ := strings.Cut(pkg, "=")
		if m.system && buildTools.MatchString(bare) && !temporary(c) {
			r.stage.compilers = append(r.stage.compilers, bare)
		}
		if m.system && bare == "sudo" {
			r.find(ruleOf(sudo), "sudo is installed")
		}
		if m.system && slices.Contains(loginServers, bare) {
			r.find(ruleOf(remoteLogin), bare+" is installed")
		}
		if !m.pinned(pkg) {
			loose = append(loose, pkg)
		}
	}
	if len(loose) == 0 {
		return
	}
	rule := unpinnedOther
	if m.system {
		rule = unpinnedSystem
	}
	r.find(ruleOf(rule), c.name()+" "+c.words[verb]+" "+strings.Join(loose, " "))
}

// packages leaves out switches with their values, files, and what is not known.
func (m manager) packages(words []string) []string {
	var out []string
	for i := 0; i < len(words); i++ {
		w := words[i]
		switch {
		case slices.Contains(m.valued, w):
			i++
		case w == "" || w[0] == '-' || w == "." || strings.HasPrefix(w, "./") || w[0] == '/' || w[0] == '$' || w[0] == '>' || strings.HasPrefix(w, "2>"):
		case strings.HasSuffix(w, ".txt"), strings.HasSuffix(w, ".whl"), strings.HasSuffix(w, ".deb"), strings.HasSuffix(w, ".rpm"), strings.HasSuffix(w, ".apk"), strings.HasSuffix(w, ".tgz"), strings.HasSuffix(w, ".gem"):
		case w == "add" || w == "install": // yarn global add
		default:
			out = append(out, w)
		}
	}
	return out
}

// temporary packages are removed by name later: apk add --virtual .build-deps.
func temporary(c call) bool { return c.has("--virtual", "-t") && c.name() == "apk" }

func removes(c call) bool {
	return c.has("purge", "remove", "del", "autoremove", "erase", "uninstall")
}
