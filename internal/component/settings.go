// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package component

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/leak"
)

// configFacts are the facts of an image's configuration. They have no layer.
func configFacts(img *image.Image) []Fact {
	var facts []Fact
	add := func(kind FactKind, path, detail string) {
		facts = append(facts, Fact{Kind: kind, Path: safeText(path), Detail: detail})
	}
	if img.Kind != image.KindArtifact && runsAsRoot(img.Config.User) {
		add(RootUser, "user", rootDetail(img.Config.User))
	}
	for _, env := range img.Config.Env {
		name, value, _ := strings.Cut(env, "=")
		for _, detail := range leak.InSetting(name, value) {
			add(EmbeddedSecret, "env "+name, detail)
		}
	}
	for _, name := range sortedLabels(img.Labels) {
		for _, detail := range leak.In([]byte(img.Labels[name])) {
			add(EmbeddedSecret, "label "+name, detail)
		}
	}
	for _, name := range sortedLabels(img.Annotations) {
		for _, detail := range leak.In([]byte(img.Annotations[name])) {
			add(EmbeddedSecret, "annotation "+name, detail)
		}
	}
	for what, command := range map[string][]string{"entrypoint": img.Config.Entrypoint, "command": img.Config.Cmd} {
		for _, detail := range leak.InCommand(strings.Join(command, "\n")) {
			add(EmbeddedSecret, what, detail)
		}
	}
	for i, step := range img.Config.History {
		for _, detail := range stepSecrets(step) {
			add(EmbeddedSecret, fmt.Sprintf("history[%d]", i), detail)
		}
	}
	for _, port := range img.Config.Ports {
		if what := remoteLogin(port); what != "" {
			add(RemoteLogin, "port "+port, what)
		}
	}
	if name, pinned := baseImage(img); name != "" && !pinned {
		add(UnpinnedBase, "base", "the image names its base without a digest")
	}
	return facts
}

// remoteLogin names the service for logging in that a port is known for.
func remoteLogin(port string) string {
	number, protocol, _ := strings.Cut(port, "/")
	if protocol != "" && protocol != "tcp" {
		return ""
	}
	return map[string]string{"22": "ssh", "23": "telnet", "513": "rlogin", "514": "rsh", "3389": "remote desktop", "5900": "VNC"}[number]
}

func rootDetail(user string) string {
	if user == "" {
		return "none is set: that is root"
	}
	return safeText(user)
}

func sortedLabels(m map[string]string) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func runsAsRoot(user string) bool {
	name, _, _ := strings.Cut(user, ":")
	if n, err := strconv.Atoi(name); err == nil {
		return n == 0
	}
	return name == "" || name == "root"
}

// baseImage returns the base the image names, and whether with a digest.
func baseImage(img *image.Image) (name string, pinned bool) {
	const key = "org.opencontainers.image.base."
	for _, m := range []map[string]string{img.Annotations, img.Labels} {
		name, digest := m[key+"name"], m[key+"digest"]
		if name != "" || digest != "" {
			return safeText(orElse(name, digest)), digest != "" || strings.Contains(name, "@sha256:")
		}
	}
	return "", false
}

// stepSecrets judges one build step, its arguments too.
func stepSecrets(step image.History) []string {
	return leak.InCommand(step.CreatedBy + "\n" + step.Comment)
}
