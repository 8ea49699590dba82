// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"path"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/identity"
)

// What an agent may say of one instance.
const (
	maxSeenSockets = 256
	maxSeenFiles   = 1024
	maxSeenPath    = 512 // bytes
)

var seenPort = regexp.MustCompile(`^[1-9][0-9]{0,4}/(tcp|udp)$`)

// saw keeps what an agent saw an instance of its node do, so that findings can tell
// what is reachable and what runs. A renewal does not fail for it: without it
// findings are as urgent as the image alone makes them.
func (e *Engine) saw(ctx context.Context, in identity.Instance, sight *client.Sight) {
	if sight == nil {
		return
	}
	seen, err := surroundings(sight)
	if err == nil {
		err = e.o.Catalog.Saw(ctx, in.Image, seen)
	}
	if err != nil {
		e.o.Log.Warn("keep what an agent saw", "instance", in.ID, "node", in.Node, "error", err)
	}
}

// surroundings checks what an agent says.
func surroundings(sight *client.Sight) (finding.Surroundings, error) {
	seen := finding.Surroundings{Executed: []string{}}
	if len(sight.Listening) > maxSeenSockets || len(sight.Executed) > maxSeenFiles {
		return seen, fault.New(fault.TooLarge, "the agent names %d sockets and %d files", len(sight.Listening), len(sight.Executed))
	}
	for _, l := range sight.Listening {
		if !seenPort.MatchString(l.Port) || l.Path != "" && !isSeenPath(l.Path) {
			return seen, fault.New(fault.Invalid, "the agent names a socket that is none")
		}
		seen.Listening = append(seen.Listening, finding.Socket{Port: l.Port, Path: l.Path})
	}
	for _, name := range sight.Executed {
		if !isSeenPath(name) {
			return seen, fault.New(fault.Invalid, "the agent names a file that is none")
		}
		seen.Executed = append(seen.Executed, name)
	}
	return seen, nil
}

func isSeenPath(name string) bool {
	return path.IsAbs(name) && path.Clean(name) == name && len(name) <= maxSeenPath && utf8.ValidString(name) &&
		!strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
}
