// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package barrier

import (
	"sync"
	"sync/atomic"
)

// cacheBytes bounds the sealed bodies kept in memory.
const cacheBytes = 64 << 20

// cache keeps sealed rows of a store that nobody else changes. Of plaintext it
// keeps only what rooms decode by Decoded, which goes when its row goes.
// A nil cache keeps nothing.
//
// gen counts commits. Whoever read the store since gen was g may put what it saw
// only while gen still is g: a row from before a commit never replaces one from
// after it.
type cache struct {
	gen  atomic.Uint64
	mu   sync.RWMutex
	rows map[string]*row // nil value: known to be absent
	size int
	max  int
}

// row is one sealed row.
type row struct {
	body    []byte
	expires int64
	group   []byte
	decoded atomic.Pointer[any] // see Decoded
}

func newCache(size int) *cache { return &cache{rows: map[string]*row{}, max: size} }

func (c *cache) generation() uint64 {
	if c == nil {
		return 0
	}
	return c.gen.Load()
}

func (c *cache) get(key []byte) (r *row, known bool) {
	if c == nil {
		return nil, false
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	r, known = c.rows[string(key)]
	return r, known
}

func (c *cache) put(key []byte, r *row, gen uint64) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gen.Load() != gen {
		return
	}
	for old := range c.rows { // over the limit: some go, whichever they are
		if c.size <= c.max {
			break
		}
		c.drop(old)
	}
	c.drop(string(key))
	c.rows[string(key)] = r
	c.size += cost(r)
}

// changed forgets rows a commit has changed.
func (c *cache) changed(keys [][]byte) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gen.Add(1)
	for _, key := range keys {
		c.drop(string(key))
	}
}

func (c *cache) drop(key string) {
	if r, known := c.rows[key]; known {
		c.size -= cost(r)
		delete(c.rows, key)
	}
}

func (c *cache) clear() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gen.Add(1)
	clear(c.rows)
	c.size = 0
}

func cost(r *row) int {
	const overhead = 160
	if r == nil {
		return overhead
	}
	return overhead + len(r.body) + len(r.group)
}
