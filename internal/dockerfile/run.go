// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// run judges one RUN instruction.
func (c *checker) run(s *stage, cmd *instructions.RunCommand) {
	c.leaked(c.node.Original)
	script := strings.Join(cmd.CmdLine, " ")
	for _, file := range cmd.Files {
		if len(strings.Fields(script)) <= 2 && strings.HasPrefix(strings.TrimSpace(script), "<<") {
			script = file.Data // the heredoc is the script
		}
		c.leaked(file.Data)
	}
	calls := callsOf(script)
	if !cmd.PrependShell && len(cmd.Files) == 0 && len(cmd.CmdLine) > 0 { // the exec form: words, no script
		direct := call{words: cmd.CmdLine}
		calls = append([]call{direct}, callsOf(innerScript(direct))...)
	}
	step := runStep{checker: c, stage: s, calls: calls, cached: strings.Contains(strings.Join(c.node.Flags, " "), "type=cache")}
	step.judge()
}

// runStep is one RUN with its commands.
type runStep struct {
	*checker
	stage  *stage
	calls  []call
	cached bool // package lists lie in a cache, not in the image
}

func (r runStep) judge() {
	for i, call := range r.calls {
		if len(call.words) == 0 {
			continue
		}
		if call.into && i+1 < len(r.calls) {
			r.piped(call, r.calls[i+1:])
		}
		r.insecure(call)
		r.rights(call)
		if manager, ok := managers[call.name()]; ok {
			r.install(manager, call)
		}
	}
	r.apt()
}

var (
	fetchers     = []string{"curl", "wget", "http", "fetch"}
	interpreters = []string{"sh", "bash", "ash", "dash", "zsh", "python", "python2", "python3", "perl", "ruby", "node", "php", "sudo"}
)

// piped finds "curl ... | sh", also with something in between.
func (r runStep) piped(from call, rest []call) {
	if !slices.Contains(fetchers, from.name()) {
		return
	}
	for _, next := range rest {
		if slices.Contains(interpreters, next.name()) && !slices.ContainsFunc(next.words[1:], func(w string) bool { return w == "-c" || w == "-e" || w == "-m" }) {
			r.find(ruleOf(pipeToShell), from.name()+" ... | "+next.name())
			return
		}
		if !next.into {
			return
		}
	}
}

var substituted = regexp.MustCompile(`(?:\$\(|<\(|` + "`" + `)\s*(?:curl|wget)\s`)

// insecure finds switches that turn verification off.
func (r runStep) insecure(c call) {
	name := c.name()
	if slices.Contains(interpreters, name) || name == "eval" || name == "source" || name == "." {
		if substituted.MatchString(strings.Join(c.words, " ")) {
			r.find(ruleOf(pipeToShell), name+" runs what a download gives")
		}
	}
	off := map[string][]string{
		"curl": {"-k", "--insecure"}, "wget": {"--no-check-certificate"},
		"pip": {"--trusted-host"}, "pip3": {"--trusted-host"},
		"apt-get": {"--allow-unauthenticated", "--force-yes", "--allow-insecure-repositories"}, "apt": {"--allow-unauthenticated", "--allow-insecure-repositories"},
		"apk": {"--allow-untrusted"}, "yum": {"--nogpgcheck"}, "dnf": {"--nogpgcheck"}, "microdnf": {"--nogpgcheck"}, "rpm": {"--nosignature", "--nodigest"},
		"zypper": {"--no-gpg-checks"}, "dpkg": {"--force-bad-verify"},
	}[name]
	for _, word := range c.words[1:] {
		flag, _, _ := strings.Cut(word, "=")
		short := name == "curl" && len(word) > 1 && word[0] == '-' && word[1] != '-' && strings.ContainsRune(word, 'k') && !strings.ContainsAny(word, "=/.:")
		if slices.Contains(off, flag) || short {
			r.find(ruleOf(unverified), name+" "+flag)
			return
		}
		if slices.Contains(fetchers[:2], name) && strings.HasPrefix(word, "http://") && !isLocal(word) {
			r.find(ruleOf(unverified), name+" "+withoutQuery(word))
			return
		}
	}
	all := strings.Join(c.words, " ")
	for _, setting := range []string{"strict-ssl false", "strict-ssl=false", "http.sslVerify false", "NODE_TLS_REJECT_UNAUTHORIZED=0", "GIT_SSL_NO_VERIFY=1", "GOINSECURE=", "GONOSUMDB=*", "GOFLAGS=-insecure"} {
		if strings.Contains(all, setting) && slices.Contains([]string{"npm", "yarn", "pnpm", "git", "export", "go"}, name) {
			r.find(ruleOf(unverified), setting)
			return
		}
	}
}

func isLocal(address string) bool {
	return strings.HasPrefix(address, "http://localhost") || strings.HasPrefix(address, "http://127.") || strings.HasPrefix(address, "http://$")
}

// rights finds sudo, and files all may write to.
func (r runStep) rights(c call) {
	switch c.name() {
	case "sudo":
		r.find(ruleOf(sudo), "sudo is used")
	case "chmod":
		for _, mode := range c.words[1:] {
			if openMode.MatchString(mode) {
				r.find(ruleOf(openToAll), "chmod "+mode)
				return
			}
		}
	}
}

var openMode = regexp.MustCompile(`^(?:[0-7]?[0-7][0-7][2367]|(?:[ugo]*[ao][ugo]*|)\+[rx]*w[rwx]*)$`)

// apt judges what a step does with apt as a whole.
func (r runStep) apt() {
	updated, installed, cleaned, plain := false, false, r.cached, false
	for _, c := range r.calls {
		switch {
		case len(c.words) == 0:
		case c.name() == "apt-get" || c.name() == "apt":
			updated = updated || c.has("update")
			installs := c.has("install", "upgrade", "dist-upgrade", "full-upgrade", "build-dep", "satisfy")
			installed = installed || installs
			plain = plain || c.has("install") && !slices.ContainsFunc(c.words, noRecommends)
		case c.name() == "rm" && strings.Contains(strings.Join(c.words, " "), "/var/lib/apt"):
			cleaned = true
		}
	}
	switch {
	case updated && !installed:
		r.find(ruleOf(aptUpdate), "apt-get update and nothing else")
	case updated && !cleaned:
		r.find(ruleOf(aptCleanup), "what apt-get update fetched stays")
	}
	if plain {
		r.find(ruleOf(aptRecommends), "apt-get install without --no-install-recommends")
	}
}

func noRecommends(word string) bool {
	return word == "--no-install-recommends" || strings.Contains(word, "Install-Recommends=false") || strings.Contains(word, "Install-Recommends=0")
}
