// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package server

// LimitListener is what bounds the connections.
var LimitListener = limitListener
