// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"time"
)

// maxLine bounds one record as it stands in the file, in bytes.
const maxLine = 1 << 20

// Anchor names a record: kept apart from the log, it shows that nothing up to
// it was cut off or written anew.
type Anchor struct {
	Seq  uint64 `json:"seq"`
	Hash string `json:"hash"`
	Node string `json:"node"`
}

// bare hides Record's Hash when reading: its field comes last in a line, so that
// a line is the hashed text plus the hash.
type bare struct {
	Record
	Hash string `json:"hash,omitempty"` // shadows Record.Hash and stays empty
}

// encode makes the line of a record that follows prev, and returns its hash.
// Every request waits for it, so it is written out here; a test holds it to what
// package json makes of Record.
func encode(rec Record, prev string) (line []byte, hash string) {
	b := make([]byte, 0, 640+2*len(rec.Sealed))
	b = strconv.AppendUint(append(b, `{"seq":`...), rec.Seq, 10)
	b = rec.Time.AppendFormat(append(b, `,"time":"`...), time.RFC3339Nano)
	b = appendText(append(b, `","node":`...), rec.Node)
	b = appendText(append(b, `,"kind":`...), rec.Kind)
	b = appendText(append(b, `,"id":`...), rec.ID)
	b = appendText(append(b, `,"op":`...), rec.Op)
	for _, field := range [...]struct{ name, text string }{
		{"mount", rec.Mount},
		{"path", rec.Path},
		{"actor", rec.Actor},
		{"name", rec.Name},
		{"remote", rec.Remote},
		{"answer", rec.Answer},
		{"reason", rec.Reason},
	} {
		if field.text != "" {
			b = append(append(append(b, `,"`...), field.name...), `":`...)
			b = appendText(b, field.text)
		}
	}
	if len(rec.Sealed) > 0 {
		b = append(base64.StdEncoding.AppendEncode(append(b, `,"sealed":"`...), rec.Sealed), '"')
	}
	b = append(appendText(append(b, `,"prev":`...), prev), '}')
	hash = hashOf(prev, b)
	b = append(append(b[:len(b)-1], hashOpen...), hash...)
	return append(b, hashEnd...), hash
}

// appendText writes a JSON string.
func appendText(b []byte, s string) []byte {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // texts always marshal
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

const (
	hashOpen = `,"hash":"`
	hashEnd  = "\"}\n"
	hashLen  = 2 * sha256.Size
)

func hashOf(prev string, body []byte) string {
	h := sha256.New()
	_, _ = io.WriteString(h, prev) // a hash takes everything
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

var (
	errNoRecord = errors.New("not an audit record")
	errChanged  = errors.New("its content does not fit its hash")
)

// decode reads a line without its newline, and checks its hash. With errChanged
// the record is returned all the same.
func decode(line []byte) (Record, error) {
	tail := len(hashOpen) + hashLen + len(hashEnd) - 1
	if len(line) <= tail || len(line) > maxLine {
		return Record{}, errNoRecord
	}
	cut := len(line) - tail
	hash, found := bytes.CutPrefix(line[cut:], []byte(hashOpen))
	if !found || string(hash[hashLen:]) != hashEnd[:2] {
		return Record{}, errNoRecord
	}
	body := append(line[:cut:cut], '}')
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	var b bare
	if err := dec.Decode(&b); err != nil || dec.More() {
		return Record{}, errNoRecord
	}
	rec := b.Record
	rec.Hash = string(hash[:hashLen])
	if hashOf(rec.Prev, body) != rec.Hash {
		return rec, errChanged
	}
	return rec, nil
}
