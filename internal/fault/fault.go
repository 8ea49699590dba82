// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package fault holds the kinds of error Goldkeep knows.
//
// An error that crosses a room's border and should be understood by a caller
// carries a Kind. Everything else is Internal: it is logged, and shown to the
// outside as "internal error". One table (in the HTTP doors) maps kinds to
// status codes, one (in the command line) maps them to exit codes.
//
// Messages are lower case, have no full stop, and never hold a secret, a token
// or the credentials of a URL. A hint says what to do about it.
package fault

import (
	"context"
	"errors"
	"fmt"
)

// Kind is a kind of error.
type Kind int

// The kinds of error. The zero value is Internal on purpose: an error nobody
// classified must never be shown to a caller.
const (
	Internal    Kind = iota // a bug or a broken part; details go to the log only
	Invalid                 // the input is wrong; the message says what and where
	NotFound                // there is no such thing
	Conflict                // it exists already, or has changed since it was read
	Denied                  // the caller may not do this (or has no valid token)
	Refused                 // a verdict says no: an image, a workload
	Sealed                  // the barrier is sealed: no secrets
	Unavailable             // a part we need does not answer; try again
	TooLarge                // the input is over a limit
	Unsupported             // understood, but not offered here (wrong verb, wrong type)
	Limited                 // too many requests: wait, then try again
)

var names = map[Kind]string{
	Internal: "internal", Invalid: "invalid", NotFound: "not_found", Conflict: "conflict",
	Denied: "denied", Refused: "refused", Sealed: "sealed", Unavailable: "unavailable",
	TooLarge: "too_large", Unsupported: "unsupported", Limited: "limited",
}

// String returns the kind's stable name, as used in JSON.
func (k Kind) String() string {
	if s, ok := names[k]; ok {
		return s
	}
	return "internal"
}

// KindNamed is the reverse of String; an unknown name is Internal.
func KindNamed(name string) Kind {
	for k, s := range names {
		if s == name {
			return k
		}
	}
	return Internal
}

// Error is an error with a kind, a message that may be shown, a hint that says
// what to do, and the cause (for the log).
type Error struct {
	Kind Kind
	Msg  string // whole text, the cause's included
	Hint string
	Err  error // kept for errors.Is and errors.As
}

// Error returns the message. New has put the cause's text into it already.
func (e *Error) Error() string { return e.Msg }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New returns an error of the given kind. The format may end in ": %w".
func New(kind Kind, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Msg: err.Error(), Err: errors.Unwrap(err)}
}

// WithHint returns e with a hint: a short sentence that says what to do.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// KindOf returns the kind of the first classified error in err's chain. A
// cancelled or timed-out context is Unavailable; nil and all else is Internal.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return Unavailable
	}
	return Internal
}

// Is reports whether err is of the given kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// HintOf returns the first hint in err's chain, or "".
func HintOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}

// Public returns what may be shown of err to somebody outside: its text, or
// "internal error" where it was never classified.
func Public(err error) string {
	if KindOf(err) == Internal {
		return "internal error"
	}
	return err.Error()
}
