// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package store

import "reflect"

// Quick reads text as decode does, without encoding/json behind it.
func Quick(text []byte, v any) bool {
	to := reflect.ValueOf(v).Elem()
	q := quick{text: text}
	return readerOf(to.Type())(&q, to) && q.at == len(text)
}
