// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"errors"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/leak"
)

// Bounds on what is looked at of a build context.
const (
	contextFiles = 20_000
	contextBytes = 256 << 10 // of one file
	contextShown = 5
)

var errEnough = errors.New("enough was seen")

// inContext looks for files with credentials in a folder that is copied, as far as
// .dockerignore lets them through.
func (c *checker) inContext(source string) {
	root := strings.TrimPrefix(path.Clean("/"+source), "/")
	if strings.ContainsAny(root, "*?[") {
		root = path.Dir(root)
	}
	if root == "" {
		root = "."
	}
	ignore := dockerignore(c.options.Context)
	var found []string
	seen := 0
	err := fs.WalkDir(c.options.Context, root, func(name string, entry fs.DirEntry, err error) error {
		if seen++; seen > contextFiles || len(found) >= contextShown {
			return errEnough
		}
		switch {
		case err != nil: // not there, or not to be read: the builder says so
			return nil
		case name != "." && ignore.excludes(name):
			if entry.IsDir() && !ignore.hasExceptions {
				return fs.SkipDir
			}
			return nil
		case entry.Type().IsRegular() && c.holdsCredentials(name):
			found = append(found, name)
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) || len(found) == 0 {
		return
	}
	c.find(ruleOf(secretContext), strings.ToUpper(c.node.Value)+" "+source+" takes along "+strings.Join(found, ", "))
}

// holdsCredentials asks the name, and the content where it is small.
func (c *checker) holdsCredentials(name string) bool {
	info, err := fs.Stat(c.options.Context, name)
	if err != nil || info.Size() > contextBytes {
		return holdsSecrets(name)
	}
	data, err := fs.ReadFile(c.options.Context, name)
	if err != nil {
		return holdsSecrets(name)
	}
	return len(leak.InFile(name, data)) > 0
}

// ignoreList is a .dockerignore: the last pattern that matches decides.
type ignoreList struct {
	patterns      []ignorePattern
	hasExceptions bool
}

type ignorePattern struct {
	match  *regexp.Regexp
	except bool
}

func dockerignore(context fs.FS) ignoreList {
	var list ignoreList
	data, err := fs.ReadFile(context, ".dockerignore")
	if err != nil || len(data) > contextBytes {
		return list
	}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") || len(list.patterns) >= 1000 {
			continue
		}
		text, except := strings.CutPrefix(line, "!")
		if match, err := regexp.Compile(patternOf(strings.TrimPrefix(path.Clean("/"+strings.TrimSpace(text)), "/"))); err == nil {
			list.patterns = append(list.patterns, ignorePattern{match, except})
			list.hasExceptions = list.hasExceptions || except
		}
	}
	return list
}

// patternOf makes a regular expression of a pattern: * and ? within a name, ** over
// folders; what is below a match is matched, too.
func patternOf(pattern string) string {
	var b strings.Builder
	b.WriteString("^")
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case strings.HasPrefix(pattern[i:], "**/"):
			b.WriteString("(?:.*/)?")
			i += 2
		case strings.HasPrefix(pattern[i:], "**"):
			b.WriteString(".*")
			i++
		case c == '*':
			b.WriteString("[^/]*")
		case c == '?':
			b.WriteString("[^/]")
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	b.WriteString("(?:/.*)?$")
	return b.String()
}

func (l ignoreList) excludes(name string) bool {
	for _, p := range slices.Backward(l.patterns) {
		if p.match.MatchString(name) {
			return !p.except
		}
	}
	return false
}
