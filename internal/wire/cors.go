// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// CORS says which web pages may use the API: pages of these origins ("*": any), with
// these headers. No origins: none, and nothing is checked.
type CORS func(ctx context.Context) (origins, headers []string, err error)

var corsMethods = strings.Join([]string{
	http.MethodDelete, http.MethodGet, http.MethodOptions, http.MethodPost, http.MethodPut, http.MethodPatch, "LIST", "SCAN",
}, ", ")

// cors sees to requests that a browser sends for a web page. done: it has answered.
// While sealed nobody knows who may, and nobody is told that he may.
func (h *handler) cors(w http.ResponseWriter, r *http.Request) (done bool) {
	origin := r.Header.Get("Origin")
	if origin == "" || h.o.CORS == nil {
		return false
	}
	origins, headers, err := h.o.CORS(r.Context())
	if err != nil || len(origins) == 0 {
		return false
	}
	if !slices.Contains(origins, "*") && !slices.Contains(origins, origin) {
		h.fail(w, r, fault.New(fault.Denied, "origin not allowed"))
		return true
	}
	w.Header().Set("Access-Control-Allow-Origin", origin)
	w.Header().Set("Vary", "Origin")
	if r.Method != http.MethodOptions {
		return false
	}
	w.Header().Set("Access-Control-Allow-Methods", corsMethods)
	w.Header().Set("Access-Control-Allow-Headers", strings.Join(headers, ","))
	w.Header().Set("Access-Control-Max-Age", "300")
	w.WriteHeader(http.StatusNoContent)
	return true
}
