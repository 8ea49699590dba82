// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"net/http"
	"sync"
	"time"
)

// Flight is a request that is being answered, as clients of Vault know it.
type Flight struct {
	Started time.Time `json:"start_time"`
	Remote  string    `json:"client_remote_address"`
	Path    string    `json:"request_path"`
	Method  string    `json:"request_method"`
}

// Flights are the requests that are being answered now; the zero value works.
type Flights struct {
	mu   sync.Mutex
	next uint64
	all  map[uint64]Flight
}

// Count remembers requests while they last.
func (f *Flights) Count(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := f.begin(Flight{time.Now().UTC(), r.RemoteAddr, r.URL.Path, r.Method})
		defer f.end(id)
		next.ServeHTTP(w, r)
	})
}

func (f *Flights) begin(one Flight) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.all == nil {
		f.all = map[uint64]Flight{}
	}
	f.next++
	f.all[f.next] = one
	return f.next
}

func (f *Flights) end(id uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, id)
}

// Now lists them by number.
func (f *Flights) Now() map[uint64]Flight {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := make(map[uint64]Flight, len(f.all))
	for id, one := range f.all {
		now[id] = one
	}
	return now
}
