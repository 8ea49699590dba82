// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/goldkeep/goldkeep/internal/attest"
	"github.com/goldkeep/goldkeep/internal/fault"
)

const (
	maxWait = time.Minute     // of wait= and timeout=
	askPace = 2 * time.Second // between two questions while a workload waits to be admitted
)

func (a *Agent) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/identity", a.getIdentity)
	mux.HandleFunc("GET /v1/secrets", a.getSecrets)
	mux.HandleFunc("GET /v1/watch", a.getWatch)
	mux.HandleFunc("POST /v1/launch", a.postLaunch)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		writeProblem(w, fault.New(fault.NotFound, "there is no such path").
			WithHint("the agent serves GET /v1/identity, /v1/secrets and /v1/watch"))
	})
	return http.MaxBytesHandler(mux, maxBody)
}

func visitorOf(r *http.Request) *visitor {
	v, ok := r.Context().Value(visitorKey{}).(*visitor)
	if !ok {
		return &visitor{err: fault.New(fault.Internal, "the connection has no peer")}
	}
	return v
}

// workload returns the instance behind a request, admitted. One that has ended is
// asked for anew only with again: who watches wants to hear of the end.
func (a *Agent) workload(r *http.Request, again bool) (*instance, error) {
	v := visitorOf(r)
	evidence, program, err := v.examine(r.Context(), a.attestor)
	if err != nil {
		return nil, err
	}
	key := "container " + evidence.Container
	if evidence.Kind == attest.KindProcess {
		if evidence.Executable == a.launcher {
			return a.launchedBy(r, evidence)
		}
		key = processKey(evidence) + " " + evidence.Executable
	}
	return a.find(r.Context(), key, again, func() (*instance, error) {
		anchor, err := a.attestor.Anchor(evidence, v.peer)
		if err != nil {
			return nil, err
		}
		in := newInstance(key, evidence, anchor)
		in.program = program
		return in, nil
	})
}

func processKey(e *attest.Evidence) string {
	return "process " + strconv.Itoa(e.PID) + " " + strconv.FormatUint(e.StartTime, 10)
}

// served is workload, but one whose identity has ended is an error too.
func (a *Agent) served(r *http.Request) (*instance, error) {
	in, err := a.workload(r, true)
	if err != nil {
		return nil, err
	}
	if in.isOver() {
		<-in.told
		now := in.identity()
		return nil, fault.New(fault.Refused, "the identity was taken back (%s): %s", now.State, now.Reason).
			WithHint("ask again once the cause is gone; a program started with goldkeep run has to be started again")
	}
	return in, nil
}

func (a *Agent) getIdentity(w http.ResponseWriter, r *http.Request) {
	wait, err := seconds(r, "wait", 0)
	if err != nil {
		writeProblem(w, err)
		return
	}
	deadline := a.o.Now().Add(wait)
	for {
		in, err := a.served(r)
		if err == nil {
			writeJSON(w, in.identity())
			return
		}
		if !a.o.Now().Add(askPace).Before(deadline) || !worthWaiting(err) {
			writeProblem(w, err)
			return
		}
		select {
		case <-time.After(askPace):
		case <-r.Context().Done():
			return
		}
	}
}

// worthWaiting says whether time may change the answer.
func worthWaiting(err error) bool {
	switch fault.KindOf(err) {
	case fault.Refused, fault.Unavailable, fault.Sealed:
		return true
	}
	return false
}

func (a *Agent) getSecrets(w http.ResponseWriter, r *http.Request) {
	in, err := a.served(r)
	if err != nil {
		writeProblem(w, err)
		return
	}
	answer, err := in.secrets()
	if err != nil {
		writeProblem(w, err)
		return
	}
	writeJSON(w, answer)
}

func (a *Agent) getWatch(w http.ResponseWriter, r *http.Request) {
	timeout, err := seconds(r, "timeout", 30*time.Second)
	if err != nil {
		writeProblem(w, err)
		return
	}
	revision, err := strconv.ParseInt(orZero(r.URL.Query().Get("revision")), 10, 64)
	if err != nil {
		writeProblem(w, fault.New(fault.Invalid, "revision is no number"))
		return
	}
	in, err := a.workload(r, false)
	if err != nil {
		writeProblem(w, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	writeJSON(w, in.watch(revision, ctx.Done()))
}

func orZero(text string) string {
	if text == "" {
		return "0"
	}
	return text
}

func seconds(r *http.Request, name string, fallback time.Duration) (time.Duration, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return fallback, nil
	}
	if n, err := strconv.Atoi(text); err == nil && n >= 0 {
		return min(time.Duration(min(n, 3600))*time.Second, maxWait), nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fault.New(fault.Invalid, "%s is no time", name).WithHint("write seconds, or 30s")
	}
	return min(d, maxWait), nil
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(v) // the caller has gone away: nothing to do
}

// problem is an RFC 9457 answer.
type problem struct {
	Type    string   `json:"type"`
	Title   string   `json:"title"`
	Status  int      `json:"status"`
	Detail  string   `json:"detail"`
	Kind    string   `json:"kind"`
	Hint    string   `json:"hint,omitempty"`
	Reasons []Reason `json:"reasons,omitempty"`
}

var statusOf = map[fault.Kind]int{
	fault.Invalid: http.StatusBadRequest, fault.NotFound: http.StatusNotFound, fault.Conflict: http.StatusConflict,
	fault.Denied: http.StatusForbidden, fault.Refused: http.StatusForbidden, fault.Sealed: http.StatusServiceUnavailable,
	fault.Unavailable: http.StatusServiceUnavailable, fault.TooLarge: http.StatusRequestEntityTooLarge,
	fault.Unsupported: http.StatusNotImplemented, fault.Limited: http.StatusTooManyRequests,
}

func writeProblem(w http.ResponseWriter, err error) {
	kind := fault.KindOf(err)
	status, ok := statusOf[kind]
	if !ok {
		status = http.StatusInternalServerError
	}
	p := problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status,
		Detail: fault.Public(err), Kind: kind.String(), Hint: fault.HintOf(err),
	}
	var refusal *Refusal
	if errors.As(err, &refusal) {
		p.Reasons, p.Hint = refusal.Reasons, refusal.Hint
	}
	text, err := json.Marshal(p)
	if err != nil {
		text = []byte(fmt.Sprintf(`{"type":"about:blank","status":%d}`, status))
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(text) // the caller has gone away: nothing to do
}
