// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package term

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/manifest"
)

// The exit codes. They are a promise: see exitCodes.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitRefused     = 3
	ExitDenied      = 4
	ExitUnavailable = 5
	ExitInterrupted = 130
)

// exitCodes is the one table from kinds of error to exit codes; every other
// kind is ExitFailed.
var exitCodes = map[fault.Kind]int{
	fault.Refused:     ExitRefused,
	fault.Denied:      ExitDenied,
	fault.Sealed:      ExitUnavailable,
	fault.Unavailable: ExitUnavailable,
}

// usageError is a command line that cannot be understood.
type usageError struct {
	msg, hint string
}

// Error implements error.
func (e *usageError) Error() string { return e.msg }

// Usage is the error for a command line that cannot be understood.
func Usage(cmd *cobra.Command, format string, args ...any) error {
	return &usageError{msg: fmt.Sprintf(format, args...), hint: "see: " + cmd.CommandPath() + " --help"}
}

// UsageHint is a command line that cannot be understood, with the way out.
func UsageHint(msg, hint string) error { return &usageError{msg: msg, hint: hint} }

// Unknown is the error for a word that is no command.
func Unknown(cmd *cobra.Command, word string) error {
	e := &usageError{
		msg:  fmt.Sprintf("%q is no command of %s", word, cmd.CommandPath()),
		hint: "see what there is: " + cmd.CommandPath() + " --help",
	}
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		e.hint = "did you mean: " + cmd.CommandPath() + " " + strings.Join(near, ", ") + "?"
	}
	return e
}

// Answered is an error whose text stands in the answer already: only the exit
// code is left to say.
type Answered int

// Error implements error.
func (e Answered) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// ExitCode implements silent.
func (e Answered) ExitCode() int { return int(e) }

// silent is an error that says nothing but an exit code; "goldkeep run" has one too.
type silent interface {
	error
	ExitCode() int
}

// Wanted checks the number of arguments; names say what they are: "IMAGE",
// "[ID]", "FILE...".
func Wanted(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		least, most := 0, len(names)
		for _, n := range names {
			if !strings.HasPrefix(n, "[") {
				least++
			}
			if strings.HasSuffix(n, "...") {
				most = 1 << 20
			}
		}
		switch {
		case len(args) < least:
			return Usage(cmd, "%s needs %s", cmd.CommandPath(), strings.Join(names[len(args):], " and "))
		case len(args) > most && most == 0:
			return Usage(cmd, "%s takes no arguments, and %q is one", cmd.CommandPath(), args[0])
		case len(args) > most:
			return Usage(cmd, "%s takes %s only, and %q is more", cmd.CommandPath(), strings.Join(names, " and "), args[most])
		}
		return nil
	}
}

// failure is an error as it is shown; with -o json, as it stands on standard error.
type failure struct {
	Message string   `json:"error"`
	Kind    string   `json:"kind"`
	Hint    string   `json:"hint,omitempty"`
	Errors  []string `json:"errors,omitempty"` // each problem of a document, with file and line
	Code    int      `json:"exitCode"`
}

// Fail shows an error and returns the exit code for it.
func (a *Term) Fail(ctx context.Context, err error) int {
	var done silent
	if errors.As(err, &done) {
		return done.ExitCode()
	}
	var child interface{ ExitCode() int } // of "goldkeep run": the program has said what there was to say
	if errors.As(err, &child) {
		return child.ExitCode()
	}
	f := describe(err)
	if ctx.Err() != nil {
		f = failure{Message: "interrupted", Kind: "interrupted", Code: ExitInterrupted}
	}
	if a.Output == "json" {
		text, err := json.Marshal(f)
		if err == nil {
			fmt.Fprintln(a.Err, string(text))
			return f.Code
		}
	}
	if len(f.Errors) == 0 || f.Message != strings.Join(f.Errors, "\n") {
		fmt.Fprintln(a.Err, "goldkeep: error: "+f.Message)
	}
	for _, e := range f.Errors {
		fmt.Fprintln(a.Err, "goldkeep: error: "+e)
	}
	if f.Hint != "" {
		fmt.Fprintln(a.Err, "goldkeep: hint: "+f.Hint)
	}
	return f.Code
}

// describe says what kind of error it is and what there is to say about it.
func describe(err error) failure {
	var wrong *usageError
	if errors.As(err, &wrong) {
		return failure{Message: wrong.msg, Kind: "usage", Hint: wrong.hint, Code: ExitUsage}
	}
	f := failure{Message: err.Error(), Hint: fault.HintOf(err)}
	kind := fault.KindOf(err)
	var answer *client.Error
	if errors.As(err, &answer) {
		kind = fault.KindNamed(answer.Kind)
		f.Hint, f.Errors = answer.Hint, answer.Errors
		if f.Hint == "" && kind == fault.Denied {
			f.Hint = "log in with: goldkeep login; or ask whoever runs the server for a policy that allows this"
		}
		if f.Hint == "" && strings.HasPrefix(f.Message, "no handler for route") {
			f.Message = "there is no place for secrets of that name"
			f.Hint = "make one with: goldkeep kv enable MOUNT"
		}
		if f.Hint == "" && kind == fault.Sealed {
			f.Message = "the server is sealed"
			f.Hint = "unseal it with: goldkeep operator unseal"
		}
	}
	var places manifest.Errors
	if errors.As(err, &places) {
		for _, p := range places {
			f.Errors = append(f.Errors, p.Error())
		}
		f.Message = strings.Join(f.Errors, "\n")
	}
	f.Kind, f.Code = kind.String(), ExitFailed
	if code, ok := exitCodes[kind]; ok {
		f.Code = code
	}
	return f
}

// Warn says on standard error what may be wrong; the command goes on.
func (a *Term) Warn(format string, args ...any) {
	a.Line.End()
	fmt.Fprintf(a.Err, "goldkeep: warning: "+format+"\n", args...)
}

// Hint says on standard error what to do next.
func (a *Term) Hint(format string, args ...any) {
	fmt.Fprintf(a.Err, "goldkeep: hint: "+format+"\n", args...)
}

// Note says something on standard error that is not part of the answer.
func (a *Term) Note(format string, args ...any) {
	fmt.Fprintf(a.Err, "goldkeep: "+format+"\n", args...)
}
