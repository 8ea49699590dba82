// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package image

import "io"

// ahead reads a source in a goroutine of its own, a little ahead of whoever reads it:
// while a file is looked into the next one is decompressed.
type ahead struct {
	full chan block
	free chan []byte
	stop chan struct{} // closed by close
	done chan struct{} // closed by the goroutine
	cur  block
	used int // of cur
}

// block is what one read gave.
type block struct {
	data []byte
	err  error
}

// How far ahead is read: so many blocks of so many bytes.
const (
	aheadBlocks = 4
	aheadBytes  = 128 << 10
)

func readAhead(from io.Reader) *ahead {
	a := &ahead{full: make(chan block, aheadBlocks), free: make(chan []byte, aheadBlocks), stop: make(chan struct{}), done: make(chan struct{})}
	for range aheadBlocks {
		a.free <- make([]byte, aheadBytes)
	}
	go a.fill(from)
	return a
}

func (a *ahead) fill(from io.Reader) {
	defer close(a.done)
	for {
		var buf []byte
		select {
		case buf = <-a.free:
		case <-a.stop:
			return
		}
		n, err := 0, error(nil)
		for n < len(buf) && err == nil { // a block is handed on as it is where its source ends or fails
			var m int
			m, err = from.Read(buf[n:])
			n += m
		}
		a.full <- block{buf[:n], err} // there is room: no more blocks than places
		if err != nil {
			return
		}
	}
}

// Read implements io.Reader. After an error all is quiet: nobody reads the source.
func (a *ahead) Read(p []byte) (int, error) {
	for a.used == len(a.cur.data) {
		if a.cur.err != nil {
			return 0, a.cur.err
		}
		if a.cur.data != nil {
			a.free <- a.cur.data[:aheadBytes]
		}
		a.cur, a.used = <-a.full, 0
		if a.cur.err != nil {
			<-a.done
		}
	}
	n := copy(p, a.cur.data[a.used:])
	a.used += n
	return n, nil
}

// close ends the goroutine and waits for it. The source must be closed before where
// reading it may take for ever.
func (a *ahead) close() {
	close(a.stop)
	<-a.done
}
