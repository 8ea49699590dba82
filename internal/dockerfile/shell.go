// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package dockerfile

import (
	"path"
	"slices"
	"strings"
)

// call is one command of a script: its words, without quotes.
type call struct {
	words []string
	into  bool // its output goes to the next call
}

// name is the program, without its folder; "" where there is none, as in RUN [].
func (c call) name() string {
	if len(c.words) == 0 {
		return ""
	}
	return path.Base(c.words[0])
}

func (c call) has(words ...string) bool {
	return slices.ContainsFunc(c.words, func(w string) bool { return slices.Contains(words, w) })
}

// maxCalls bounds the commands of one script.
const maxCalls = 2000

// callsOf takes a script apart, well enough to see which programs are called with
// what: it knows quotes, escapes, comments and the signs between commands, and
// looks through those that run another one (sudo, env, sh -c).
func callsOf(script string) []call { return callsAt(script, 0) }

func callsAt(script string, depth int) []call {
	s := splitter{script: script}
	s.run()
	var out []call
	for _, c := range s.calls {
		c.words = unwrapped(c.words)
		if len(c.words) == 0 {
			continue
		}
		out = append(out, c)
		if inner := innerScript(c); inner != "" && depth < 3 {
			out = append(out, callsAt(inner, depth+1)...)
		}
	}
	return out
}

type splitter struct {
	script string
	word   strings.Builder
	quoted bool // the word has quotes: it may be empty
	words  []string
	calls  []call
}

func (s *splitter) endWord() {
	if s.word.Len() > 0 || s.quoted {
		s.words = append(s.words, s.word.String())
	}
	s.word.Reset()
	s.quoted = false
}

func (s *splitter) endCall(into bool) {
	s.endWord()
	if len(s.words) > 0 && len(s.calls) < maxCalls {
		s.calls = append(s.calls, call{s.words, into})
	}
	s.words = nil
}

func (s *splitter) run() {
	text := s.script
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '\\':
			if i++; i < len(text) && text[i] != '\n' {
				s.word.WriteByte(text[i])
			}
		case '\'', '"':
			i = s.quote(i)
		case ' ', '\t', '\r':
			s.endWord()
		case '#':
			if s.word.Len() > 0 || s.quoted {
				s.word.WriteByte(c)
				continue
			}
			for i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
		case '|':
			double := i+1 < len(text) && text[i+1] == '|'
			if double {
				i++
			}
			s.endCall(!double)
		case '&', ';', '\n', '(', ')', '{', '}', '`':
			if c == '&' && i > 0 && text[i-1] == '>' || c == '{' && i > 0 && text[i-1] == '$' || c == '}' && s.word.Len() > 0 {
				s.word.WriteByte(c)
				continue
			}
			s.endCall(false)
		default:
			s.word.WriteByte(c)
		}
	}
	s.endCall(false)
}

// quote takes in a quoted part and returns the place of its end.
func (s *splitter) quote(start int) int {
	mark, text := s.script[start], s.script
	s.quoted = true
	i := start + 1
	for ; i < len(text) && text[i] != mark; i++ {
		if text[i] == '\\' && mark == '"' && i+1 < len(text) {
			i++
		}
		s.word.WriteByte(text[i])
	}
	return i
}

// before are words that stand before a command and change nothing of it.
var before = strings.Fields("then else do if while until ! exec time nice nohup command builtin env eatmydata xargs")

// unwrapped cuts off assignments and words before the command.
func unwrapped(words []string) []string {
	for len(words) > 0 {
		name, _, assigned := strings.Cut(words[0], "=")
		switch {
		case slices.Contains(before, words[0]):
		case assigned && name != "" && !strings.ContainsAny(name, "-/.[]$ "):
		default:
			return words
		}
		words = words[1:]
	}
	return nil
}

// innerScript is what "sh -c SCRIPT" and "sudo COMMAND" run.
func innerScript(c call) string {
	switch c.name() {
	case "sh", "bash", "ash", "dash", "zsh":
		if i := slices.IndexFunc(c.words, func(w string) bool { return strings.HasPrefix(w, "-") && strings.HasSuffix(w, "c") }); i > 0 && i+1 < len(c.words) {
			return c.words[i+1]
		}
	case "sudo", "gosu", "doas":
		rest := slices.DeleteFunc(slices.Clone(c.words[1:]), func(w string) bool { return strings.HasPrefix(w, "-E") || w == "-H" || w == "-n" })
		return strings.Join(rest, " ")
	}
	return ""
}
