// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"
)

// reader reads a value of one type into its place, which is zero. False: this is not
// for us to read.
type reader func(q *quick, v reflect.Value) bool

var readers sync.Map // of reader, by reflect.Type

// readerOf returns the reader of a type, which is made once.
func readerOf(t reflect.Type) reader {
	if known, ok := readers.Load(t); ok {
		return known.(reader)
	}
	// A type may hold lists of itself: until its reader is made, who asks waits.
	var made reader
	var wait sync.WaitGroup
	wait.Add(1)
	first, there := readers.LoadOrStore(t, reader(func(q *quick, v reflect.Value) bool {
		wait.Wait()
		return made(q, v)
	}))
	if there {
		return first.(reader)
	}
	made = newReader(t)
	wait.Done()
	readers.Store(t, made)
	return made
}

var (
	ownJSON = reflect.TypeFor[json.Unmarshaler]()
	ownText = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func newReader(t reflect.Type) reader {
	pointer := reflect.PointerTo(t)
	switch {
	case t == reflect.TypeFor[time.Time]():
		return readTime
	case t.Kind() == reflect.Pointer:
		return pointerReader(t)
	case pointer.Implements(ownJSON), pointer.Implements(ownText):
		return readOther
	}
	switch t.Kind() {
	case reflect.String:
		return readString
	case reflect.Bool:
		return readBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return readInt
	case reflect.Float32, reflect.Float64:
		return readFloat
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Uint8 { // bytes are written as text
			return listReader(t)
		}
	case reflect.Map:
		if t.Key().Kind() == reflect.String && !t.Key().Implements(ownText) && !reflect.PointerTo(t.Key()).Implements(ownText) {
			return mapReader(t)
		}
	case reflect.Struct:
		if fields, ok := fieldsOf(t); ok {
			return structReader(fields)
		}
	}
	return readOther
}

// readOther leaves one value to encoding/json.
func readOther(q *quick, v reflect.Value) bool {
	text, ok := q.raw()
	return ok && json.Unmarshal(text, v.Addr().Interface()) == nil
}

func readTime(q *quick, v reflect.Value) bool {
	text, ok := q.str()
	if !ok {
		return false
	}
	return v.Addr().Interface().(*time.Time).UnmarshalText([]byte(text)) == nil
}

func readString(q *quick, v reflect.Value) bool {
	text, ok := q.str()
	v.SetString(text)
	return ok
}

func readBool(q *quick, v reflect.Value) bool {
	yes := q.word("true")
	v.SetBool(yes)
	return yes || q.word("false")
}

func readInt(q *quick, v reflect.Value) bool {
	text, ok := q.number()
	n, err := strconv.ParseInt(text, 10, v.Type().Bits())
	v.SetInt(n)
	return ok && err == nil
}

func readFloat(q *quick, v reflect.Value) bool {
	text, ok := q.number()
	n, err := strconv.ParseFloat(text, v.Type().Bits())
	v.SetFloat(n)
	return ok && err == nil
}

func pointerReader(t reflect.Type) reader {
	value := readerOf(t.Elem())
	return func(q *quick, v reflect.Value) bool {
		if q.word("null") {
			return true
		}
		v.Set(reflect.New(t.Elem()))
		return value(q, v.Elem())
	}
}

func listReader(t reflect.Type) reader {
	item := readerOf(t.Elem())
	return func(q *quick, v reflect.Value) bool {
		if q.word("null") {
			return true
		}
		if q.depth++; q.depth > maxDepth || !q.next('[') {
			return false
		}
		v.Set(reflect.MakeSlice(t, 0, 0))
		for n := 0; !q.next(']'); n++ {
			if n > 0 && !q.next(',') {
				return false
			}
			v.Grow(1)
			v.SetLen(n + 1)
			if !item(q, v.Index(n)) {
				return false
			}
		}
		q.depth--
		return true
	}
}

func mapReader(t reflect.Type) reader {
	item := readerOf(t.Elem())
	return func(q *quick, v reflect.Value) bool {
		if q.word("null") {
			return true
		}
		if q.depth++; q.depth > maxDepth || !q.next('{') {
			return false
		}
		v.Set(reflect.MakeMap(t))
		for n := 0; !q.next('}'); n++ {
			if n > 0 && !q.next(',') {
				return false
			}
			name, ok := q.str()
			value := reflect.New(t.Elem()).Elem()
			if !ok || !q.next(':') || !item(q, value) {
				return false
			}
			v.SetMapIndex(reflect.ValueOf(name).Convert(t.Key()), value)
		}
		q.depth--
		return true
	}
}

// field is one field of a struct.
type field struct {
	key  string // `"name":`
	path []int
	read reader
}

// maxFields bounds the fields of a struct: a bit for each.
const maxFields = 64

// fieldsOf lists the fields of a struct, those of embedded ones too. False where
// encoding/json has rules for it that are not worth knowing here.
func fieldsOf(t reflect.Type) ([]field, bool) {
	var all []field
	names := map[string]bool{}
	for _, f := range reflect.VisibleFields(t) {
		tag, tagged := f.Tag.Lookup("json")
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case tag == "-":
			continue
		case f.Anonymous && !tagged && f.Type.Kind() == reflect.Struct:
			continue // its fields follow
		case f.Anonymous || strings.Contains(options, "string"):
			return nil, false
		case !f.IsExported():
			continue
		case name == "":
			name = f.Name
		}
		if quoted, err := json.Marshal(name); err != nil || names[name] || string(quoted) != `"`+name+`"` {
			return nil, false
		}
		names[name] = true
		all = append(all, field{`"` + name + `":`, f.Index, readerOf(f.Type)})
	}
	return all, len(all) <= maxFields
}

func structReader(fields []field) reader {
	return func(q *quick, v reflect.Value) bool {
		if q.depth++; q.depth > maxDepth || !q.next('{') {
			return false
		}
		var had uint64
		for at, n := -1, 0; !q.next('}'); n++ {
			if n > 0 && !q.next(',') {
				return false
			}
			at = q.fieldAfter(fields, at)
			if at < 0 || had&(1<<at) != 0 {
				return false
			}
			had |= 1 << at
			if !fields[at].read(q, v.FieldByIndex(fields[at].path)) {
				return false
			}
		}
		q.depth--
		return true
	}
}

// fieldAfter takes a key and returns its field; mostly it is the next one or the one
// after it. -1: none.
func (q *quick) fieldAfter(fields []field, last int) int {
	for i := range fields {
		if at := (last + 1 + i) % len(fields); q.word(fields[at].key) {
			return at
		}
	}
	return -1
}
