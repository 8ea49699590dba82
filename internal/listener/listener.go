// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

// Package listener is what stands between the network and the doors: the
// certificate, who may connect, and how much strangers may make the server hold.
package listener

import (
	"net"
	"sync"
)

// MaxConns bounds the open connections: each costs some 40 KiB.
const MaxConns = 8192

// limitedListener hangs up on who comes when all places are taken: waiting ones
// would cost as much.
type limitedListener struct {
	net.Listener
	places chan struct{}
}

// Limit bounds the connections of a listener.
func Limit(l net.Listener, most int) net.Listener {
	return &limitedListener{l, make(chan struct{}, most)}
}

// Accept returns the next connection there is a place for.
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.places <- struct{}{}:
			return &placedConn{Conn: c, leave: sync.OnceFunc(func() { <-l.places })}, nil
		default:
			_ = c.Close() // the client sees why by that
		}
	}
}

type placedConn struct {
	net.Conn
	leave func()
}

// Close gives the place to somebody else.
func (c *placedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
