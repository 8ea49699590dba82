// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package inspect serves the paths of sys/ that look into the running server: the
// requests that are being answered, and profiles where they are switched on. It is a
// part of engine/sys.
package inspect

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime/pprof"
	"runtime/trace"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
)

// Options are what the engine looks at.
type Options struct {
	Flights  func() any // the requests that are being answered, by number
	Profiles bool       // whether profiles are given out
}

// Engine serves its part of "sys/".
type Engine struct{ o Options }

// New makes the engine.
func New(o Options) *Engine { return &Engine{o} }

// Special implements sys.Part.
func (e *Engine) Special() engine.Special {
	return engine.Special{
		Sudo: []string{"in-flight-req", "pprof", "pprof/*", "monitor"},
		Pure: []string{"in-flight-req", "pprof", "pprof/*"},
		Routes: []engine.Route{
			{Path: "in-flight-req", Help: "The requests that are being answered.", Ops: engine.Ops{Read: e.flights}},
			{Path: "monitor", Help: "Not offered: the log goes to standard error.", Ops: engine.Ops{Read: monitor}},
			{Path: "pprof", Help: "The profiles there are, where they are switched on.", Ops: engine.Ops{Read: e.profiles}},
			{Path: "pprof/{profile}", Help: "A profile of the server, where they are switched on.", Takes: "seconds:integer debug:integer", Ops: engine.Ops{Read: e.profile}},
		},
	}
}

func (e *Engine) flights(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
	return &engine.Response{Data: e.o.Flights(), Bare: true}, nil
}

func monitor(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
	return nil, fault.New(fault.NotFound, "unsupported path: the log is not sent over the network; it goes to the server's standard error")
}

var errOff = fault.New(fault.NotFound, "unsupported path: profiles are off; the server's configuration switches them on (profiles: true)")

func (e *Engine) profiles(context.Context, *engine.Request, engine.Vars) (*engine.Response, error) {
	if !e.o.Profiles {
		return nil, errOff
	}
	var b strings.Builder
	for _, p := range pprof.Profiles() {
		fmt.Fprintf(&b, "%d %s\n", p.Count(), p.Name())
	}
	return plain([]byte(b.String())), nil
}

func plain(text []byte) *engine.Response {
	return &engine.Response{Raw: text, Header: map[string]string{"Content-Type": "text/plain; charset=utf-8"}}
}

// longest bounds how long a profile over time may take.
const longest = 120 * time.Second

// profile makes one: of now, or over some seconds.
func (e *Engine) profile(ctx context.Context, req *engine.Request, v engine.Vars) (*engine.Response, error) {
	if !e.o.Profiles {
		return nil, errOff
	}
	f := engine.Read(req)
	length, debug := time.Duration(f.Int("seconds", 0))*time.Second, f.Int("debug", 0)
	if f.Err() != nil {
		return nil, f.Err()
	}
	if length < 0 || length > longest {
		return nil, fault.New(fault.Invalid, "seconds must be from 0 to %d", int(longest/time.Second))
	}
	var b bytes.Buffer
	var err error
	switch name := v["profile"]; name {
	case "cmdline":
		return plain([]byte(strings.Join(os.Args, "\x00"))), nil
	case "profile":
		err = over(ctx, max(length, time.Second), func() error { return pprof.StartCPUProfile(&b) }, pprof.StopCPUProfile)
	case "trace":
		err = over(ctx, max(length, time.Second), func() error { return trace.Start(&b) }, trace.Stop)
	default:
		p := pprof.Lookup(name)
		if p == nil {
			return nil, fault.New(fault.NotFound, "there is no profile %q", name)
		}
		err = p.WriteTo(&b, debug)
	}
	if err != nil {
		return nil, fault.New(fault.Conflict, "make profile: %w", err)
	}
	if debug > 0 {
		return plain(b.Bytes()), nil
	}
	return &engine.Response{Raw: b.Bytes(), Header: map[string]string{"Content-Type": "application/octet-stream"}}, nil
}

// over runs something for a while, or until nobody waits for it any more.
func over(ctx context.Context, length time.Duration, start func() error, stop func()) error {
	if err := start(); err != nil {
		return err
	}
	defer stop()
	wait := time.NewTimer(length)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-wait.C:
		return nil
	}
}
