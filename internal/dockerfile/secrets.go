// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"

	"github.com/goldkeep/goldkeep/internal/leak"
)

// arg judges ARG: a value is kept in the history, and so is what is given from
// outside.
func (c *checker) arg(cmd *instructions.ArgCommand) {
	for _, a := range cmd.Args {
		c.words.argument(a.Key, a.Value, c.stage() == nil)
		switch {
		case a.Value != nil && *a.Value != "":
			c.setting("ARG", a.Key, *a.Value)
		case leak.NamesSecret(a.Key):
			c.find(ruleOf(secretArg), "ARG "+a.Key+" is there to be given a secret")
		}
	}
}

func (c *checker) env(cmd *instructions.EnvCommand) {
	for _, kv := range cmd.Env {
		value := c.words.expand(kv.Value)
		c.words.stage[kv.Key] = value
		c.setting("ENV", kv.Key, kv.Value)
	}
}

// setting judges a variable by its name and value. A value that is another
// variable is judged where that is set, but for a secret's name it is enough.
func (c *checker) setting(kind, name, value string) {
	if found := leak.In([]byte(value)); len(found) > 0 {
		c.find(ruleOf(secretValue), kind+" "+name+": "+strings.Join(found, ", "))
		return
	}
	if !leak.NamesSecret(name) || value == "" || strings.HasPrefix(value, "/") || strings.EqualFold(value, "true") || strings.EqualFold(value, "false") {
		return
	}
	if strings.Contains(value, "$") {
		if kind == "ENV" {
			c.find(ruleOf(secretName), "ENV "+name+" keeps the value of an argument")
		}
		return
	}
	c.find(ruleOf(secretName), kind+" "+name+" has a value")
}

// leaked looks for credentials in the text of an instruction.
func (c *checker) leaked(text string) {
	if found := leak.InCommand(text); len(found) > 0 {
		c.find(ruleOf(secretValue), strings.ToUpper(c.node.Value)+": "+strings.Join(found, ", "))
	}
}

// secretNames are files that exist to hold credentials.
var secretNames = strings.Fields(`.env .netrc _netrc .npmrc .yarnrc .pypirc .pgpass .my.cnf .git-credentials .htpasswd .s3cfg .boto .vault-token
	id_rsa id_dsa id_ecdsa id_ed25519 credentials credentials.json .dockercfg kubeconfig service-account.json service_account.json wp-config.php secring.gpg`)

// secretFolders hold them.
var secretFolders = []string{".aws", ".ssh", ".kube", ".docker", ".gnupg", ".config/gcloud", ".azure"}

// secretEnds end the names of private keys and key stores.
var secretEnds = []string{".pem", ".key", ".p12", ".pfx", ".jks", ".keystore", ".kdbx", ".ppk"}

// holdsSecrets judges a file by its name.
func holdsSecrets(name string) bool {
	name = strings.TrimSuffix(path.Clean("/"+name), "/")
	base := path.Base(name)
	if strings.HasSuffix(base, ".pub") || strings.HasSuffix(base, ".example") || strings.HasSuffix(base, ".sample") || strings.HasSuffix(base, ".template") {
		return false
	}
	if slices.Contains(secretNames, base) || strings.HasPrefix(base, ".env.") {
		return true
	}
	if slices.ContainsFunc(secretFolders, func(dir string) bool {
		return strings.HasSuffix(name, "/"+dir) || strings.HasSuffix(name, "/.docker/config.json")
	}) {
		return true
	}
	public := strings.Contains(base, "ca.") || strings.Contains(base, "cert") || strings.Contains(base, "chain") || strings.Contains(base, "public")
	return !public && slices.ContainsFunc(secretEnds, func(end string) bool { return strings.HasSuffix(base, end) })
}

// copied judges COPY and the files of ADD.
func (c *checker) copied(files instructions.SourcesAndDest, from string) {
	for _, content := range files.SourceContents {
		if found := leak.InFile(files.DestPath, []byte(content.Data)); len(found) > 0 {
			c.find(ruleOf(secretValue), "a heredoc: "+strings.Join(found, ", "))
		}
	}
	for _, source := range files.SourcePaths {
		source = c.words.expand(source)
		if holdsSecrets(source) {
			c.find(ruleOf(secretFile), strings.ToUpper(c.node.Value)+" "+source)
			continue
		}
		if from == "" && c.options.Context != nil && !isAddress(source) {
			c.inContext(source)
		}
	}
}

// added judges ADD, which can fetch.
func (c *checker) added(cmd *instructions.AddCommand) {
	for _, source := range cmd.SourcePaths {
		source = c.words.expand(source)
		switch {
		case isGit(source):
			if _, commit, ok := strings.Cut(source, "#"); !ok || len(commit) < 40 {
				c.find(ruleOf(addURL), "ADD "+withoutQuery(source)+" names no commit")
			}
		case isAddress(source) && cmd.Checksum == "":
			c.find(ruleOf(addURL), "ADD "+withoutQuery(source)+" has no --checksum")
		}
	}
	c.leaked(c.node.Original)
	c.copied(cmd.SourcesAndDest, "")
}

func isAddress(source string) bool {
	return strings.HasPrefix(source, "http://") || strings.HasPrefix(source, "https://") || strings.HasPrefix(source, "ftp://") || isGit(source)
}

func isGit(source string) bool {
	place, _, _ := strings.Cut(source, "#")
	return strings.HasPrefix(source, "git@") || strings.HasPrefix(source, "git://") || strings.HasPrefix(source, "ssh://") || strings.HasPrefix(place, "http") && strings.HasSuffix(place, ".git")
}

// withoutQuery leaves out of an address where a credential may be.
func withoutQuery(address string) string {
	address, _, _ = strings.Cut(address, "?")
	scheme, rest, ok := strings.Cut(address, "://")
	if at := strings.LastIndexByte(rest, '@'); ok && at >= 0 {
		return scheme + "://" + rest[at+1:]
	}
	return address
}

// expose judges the ports.
func (c *checker) expose(cmd *instructions.ExposeCommand) {
	for _, port := range cmd.Ports {
		port = c.words.expand(port)
		if number, _, _ := strings.Cut(port, "/"); number == "22" || number == "23" || number == "3389" || number == "5900" {
			c.find(ruleOf(remoteLogin), "EXPOSE "+port)
		}
	}
}
