// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api

// Operation is one of the API's, for the tests.
type Operation struct {
	Method, Path string
	Out          any
}

// Operations lists all there is.
func (e *Engine) Operations() []Operation {
	var all []Operation
	for _, op := range e.operations() {
		all = append(all, Operation{op.method, op.path, op.out})
	}
	return all
}
