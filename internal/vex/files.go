// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
)

// Limits of a feed as it comes.
const (
	maxFeed  = 2 << 30 // bytes of a file or an archive
	maxTotal = 8 << 30 // bytes of all documents, unpacked
)

// Folder gives the documents of a folder and of those in it: every file *.json. A
// single file is a folder of one. Links are not followed.
func Folder(root string) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if !entry.Type().IsRegular() || path != root && !isDocument(path) {
				return nil
			}
			file, err := os.Open(path)
			if err != nil {
				return err
			}
			data, err := readAll(file)
			_ = file.Close()
			if err != nil {
				return err
			}
			name, err := filepath.Rel(root, path)
			if err != nil || name == "." {
				name = filepath.Base(path)
			}
			if !yield(File{filepath.ToSlash(name), data}, nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield(File{}, fault.New(fault.Invalid, "read VEX documents: %w", err))
		}
	}
}

func isDocument(name string) bool { return strings.HasSuffix(strings.ToLower(name), ".json") }

// readAll reads one document. One over the limit is cut just above it: Parse
// refuses it then, by its name.
func readAll(r io.Reader) ([]byte, error) { return io.ReadAll(io.LimitReader(r, MaxDocument+1)) }

// Archive gives the documents of a zip file, or the one document that a file is.
func Archive(file io.ReaderAt, size int64) iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		head := make([]byte, 4)
		if n, err := file.ReadAt(head, 0); err != nil && n < len(head) || !bytes.Equal(head, []byte("PK\x03\x04")) {
			data, err := readAll(io.NewSectionReader(file, 0, size))
			yield(File{"document.json", data}, err)
			return
		}
		archive, err := zip.NewReader(file, size)
		if err != nil {
			yield(File{}, fault.New(fault.Invalid, "read archive of VEX documents: %w", err))
			return
		}
		total := 0
		for _, f := range archive.File {
			if !f.Mode().IsRegular() || !isDocument(f.Name) {
				continue
			}
			data, err := unpack(f)
			if total += len(data); err == nil && total > maxTotal {
				err = fault.New(fault.TooLarge, "the archive unpacks to more than %d bytes", int64(maxTotal))
			}
			if !yield(File{f.Name, data}, err) || err != nil {
				return
			}
		}
	}
}

func unpack(f *zip.File) ([]byte, error) {
	r, err := f.Open()
	if err != nil {
		return nil, fault.New(fault.Invalid, "read %.200q of the archive: %w", f.Name, err)
	}
	defer func() { _ = r.Close() }()
	data, err := readAll(r)
	if err != nil {
		return nil, fault.New(fault.Invalid, "read %.200q of the archive: %w", f.Name, err)
	}
	return data, nil
}

// Pack writes documents as a zip file, which Archive reads.
func Pack(w io.Writer, files iter.Seq2[File, error]) error {
	archive := zip.NewWriter(w)
	for file, err := range files {
		if err != nil {
			return err
		}
		part, err := archive.Create(file.Name)
		if err != nil {
			return err
		}
		if _, err := part.Write(file.Data); err != nil {
			return err
		}
	}
	return archive.Close()
}

// errUnchanged: what is fetched is what its tag was given for.
var errUnchanged = errors.New("it has not changed")

// opened is a feed that was opened.
type opened struct {
	files iter.Seq2[File, error]
	done  func()
	tag   string // of what a server sent; "" where there is none
}

// Source gives the documents of a feed: a folder, a file, or an http(s) address of a
// document or a zip file, which is fetched to a file in temp. The caller calls done.
func Source(ctx context.Context, from, temp string) (files iter.Seq2[File, error], done func(), err error) {
	got, err := open(ctx, from, temp, "")
	return got.files, got.done, err
}

// open is Source; errUnchanged where the server says that tag is still what it has.
func open(ctx context.Context, from, temp, tag string) (opened, error) {
	if strings.HasPrefix(from, "https://") || strings.HasPrefix(from, "http://") {
		return fetch(ctx, from, temp, tag)
	}
	info, err := os.Stat(from)
	if err != nil {
		return opened{}, fault.New(fault.NotFound, "read VEX documents: %w", err)
	}
	if !info.Mode().IsRegular() || isDocument(from) {
		return opened{files: Folder(from), done: func() {}}, nil
	}
	file, err := os.Open(from)
	if err != nil {
		return opened{}, fault.New(fault.Invalid, "read VEX documents: %w", err)
	}
	return opened{files: Archive(file, info.Size()), done: func() { _ = file.Close() }}, nil
}

// fetch downloads to a file that has no name and is gone when closed.
func fetch(ctx context.Context, address, temp, tag string) (opened, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return opened{}, fault.New(fault.Invalid, "fetch VEX documents: the address is not understood")
	}
	if held, ok := strings.CutPrefix(tag, strings.TrimSuffix(tagOf(address, "-"), "-")); ok {
		req.Header.Set("If-None-Match", held)
	}
	host := req.URL.Host // the address may hold a credential
	client := &http.Client{Timeout: 10 * time.Minute}
	res, err := client.Do(req)
	if err != nil {
		return opened{}, fault.New(fault.Unavailable, "fetch VEX documents from %s: no answer", host)
	}
	defer func() { _ = res.Body.Close() }()
	switch {
	case res.StatusCode == http.StatusNotModified && req.Header.Get("If-None-Match") != "":
		return opened{}, errUnchanged
	case res.StatusCode != http.StatusOK:
		return opened{}, fault.New(fault.Unavailable, "fetch VEX documents from %s: it answers %s", host, res.Status)
	}
	file, err := os.CreateTemp(temp, "vex-*")
	if err != nil {
		return opened{}, fault.New(fault.Unavailable, "make temporary file: %w", err)
	}
	err = os.Remove(file.Name())
	var size int64
	if err == nil {
		size, err = io.Copy(file, io.LimitReader(res.Body, maxFeed+1))
	}
	if err == nil && size > maxFeed {
		err = fault.New(fault.TooLarge, "it is over %d bytes", int64(maxFeed))
	}
	if err != nil {
		_ = file.Close()
		return opened{}, fault.New(fault.KindOf(err), "fetch VEX documents from %s: %w", host, err)
	}
	return opened{Archive(file, size), func() { _ = file.Close() }, tagOf(address, res.Header.Get("ETag"))}, nil
}
