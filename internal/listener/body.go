// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"
)

// Bodies are read before it is known who is asking. What strangers may make the
// server hold is bounded here.
const (
	smallBody   = 64 << 10         // bytes; smaller ones are not counted
	largeBody   = 32 << 20         // bytes; the most a door takes, and what a body of unknown size counts as
	allBodies   = 128 << 20        // bytes held at once
	bodyTime    = 30 * time.Second // for a body to arrive
	bodyPatient = 5 * time.Second  // for its turn to come
)

// Bodies bounds the time and the memory request bodies take.
type Bodies struct {
	room  *semaphore.Weighted
	known func(ctx context.Context, token string) bool // is this a token of ours?
}

// NewBodies makes it; known says whether a token is one of ours, taking no use of it.
func NewBodies(known func(context.Context, string) bool) *Bodies {
	return &Bodies{room: semaphore.NewWeighted(allBodies), known: known}
}

// streams says whether a request's body goes to disk as it comes, which only
// those who may send one can do.
func streams(r *http.Request) bool {
	restores := r.Method == http.MethodPost || r.Method == http.MethodPut
	if restores && (r.URL.Path == "/v1/sys/storage/raft/snapshot" || r.URL.Path == "/v1/sys/storage/raft/snapshot-force") {
		return true
	}
	return r.Method == http.MethodPost && r.URL.Path == "/api/v1/images" ||
		r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/api/v1/advisories/")
}

// Limit has bodies wait for their turn.
func (b *Bodies) Limit(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body == nil || r.Body == http.NoBody || streams(r) {
			next.ServeHTTP(w, r)
			return
		}
		if size := r.ContentLength; size < 0 || size > smallBody {
			if !b.known(r.Context(), bearer(r)) {
				refuse(w, http.StatusForbidden, "permission denied: a large body needs a token")
				return
			}
			if size < 0 || size > largeBody {
				size = largeBody // more is not read
			}
			turn, cancel := context.WithTimeout(r.Context(), bodyPatient)
			defer cancel()
			if b.room.Acquire(turn, size) != nil {
				refuse(w, http.StatusServiceUnavailable, "too many large requests at once: try again")
				return
			}
			defer b.room.Release(size)
		}
		control := http.NewResponseController(w)
		_ = control.SetReadDeadline(time.Now().Add(bodyTime)) // every connection of ours can
		r.Body = &timedBody{ReadCloser: r.Body, whole: func() { _ = control.SetReadDeadline(time.Time{}) }}
		next.ServeHTTP(w, r)
	})
}

// EndWatches lets the agents that wait for news go when the server stops; they
// come again. Without it they would hold the end up.
func EndWatches(stopping context.Context, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/api/v1/nodes/") && strings.HasSuffix(r.URL.Path, "/watch") {
			ctx, cancel := context.WithCancel(r.Context())
			defer cancel()
			defer context.AfterFunc(stopping, cancel)()
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}

// timedBody takes the deadline away when the body has arrived: the answer may
// take longer.
type timedBody struct {
	io.ReadCloser
	whole func()
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.whole()
	}
	return n, err
}

// bearer is the token of a request, from the headers the doors look at.
func bearer(r *http.Request) string {
	if t := r.Header.Get("X-Vault-Token"); t != "" {
		return t
	}
	t, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return t
}

// refuse answers before a door is reached, in a form clients of both understand.
func refuse(w http.ResponseWriter, status int, why string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Connection", "close") // the rest of the body is not read
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `{"errors":["`+why+`"],"title":"`+http.StatusText(status)+`","detail":"`+why+`"}`+"\n")
}
