// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package scan

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/image"
)

// Files is a Cache in a folder of the file system: one zstd-compressed JSON file a
// layer. Several processes may use one folder.
type Files struct {
	dir   string
	limit int64
}

const (
	// cacheBytes bounds a folder; the oldest files go first.
	cacheBytes = 1 << 30
	// reportBytes bounds one report, unpacked.
	reportBytes = 512 << 20
)

// FileCache returns the cache kept in dir, which is made when it is first needed,
// for its owner only: who can write there decides what is found in an image.
func FileCache(dir string) *Files { return &Files{dir: dir, limit: cacheBytes} }

// Limit changes how many bytes the folder may hold.
func (c *Files) Limit(bytes int64) *Files {
	c.limit = bytes
	return c
}

// Get returns the report of a layer. A file that is broken is a miss, and removed.
func (c *Files) Get(diffID image.Digest) (*component.LayerReport, bool) {
	name, ok := c.name(diffID)
	if !ok {
		return nil, false
	}
	report, err := readReport(name)
	if err == nil && report.Usable() && report.DiffID == diffID {
		return report, true
	}
	if !os.IsNotExist(err) {
		_ = os.Remove(name)
	}
	return nil, false
}

// Put keeps a report. A folder that cannot be written to is no cache, and no error.
func (c *Files) Put(report *component.LayerReport) {
	name, ok := c.name(report.DiffID)
	if !ok || os.MkdirAll(c.dir, 0o700) != nil {
		return
	}
	if c.write(name, report) == nil {
		c.shrink()
	}
}

// name is the file of a layer. The version is part of it, so that two versions of
// Goldkeep do not throw away each other's reports.
func (c *Files) name(diffID image.Digest) (string, bool) {
	if _, err := image.ParseDigest(string(diffID)); err != nil {
		return "", false
	}
	hex := strings.TrimPrefix(string(diffID), "sha256:")
	return filepath.Join(c.dir, fmt.Sprintf("%s.v%d.json.zst", hex, component.ReportVersion)), true
}

func readReport(name string) (*component.LayerReport, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	plain, err := zstd.NewReader(file, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20))
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	var report component.LayerReport
	if err := json.NewDecoder(io.LimitReader(plain, reportBytes)).Decode(&report); err != nil {
		return nil, err
	}
	return &report, nil
}

// write makes the file appear whole or not at all.
func (c *Files) write(name string, report *component.LayerReport) error {
	tmp, err := os.CreateTemp(c.dir, "new-*")
	if err != nil {
		return err
	}
	err = encode(tmp, report)
	if end := tmp.Close(); err == nil {
		err = end
	}
	if err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}

func encode(w io.Writer, report *component.LayerReport) error {
	packed, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	if err := json.NewEncoder(packed).Encode(report); err != nil {
		return err
	}
	return packed.Close()
}

// shrink removes the oldest files until the folder is within its limit.
func (c *Files) shrink() {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return
	}
	var files []fs.FileInfo
	var total int64
	for _, e := range entries {
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && strings.HasSuffix(e.Name(), ".json.zst") {
			files = append(files, info)
			total += info.Size()
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int { return a.ModTime().Compare(b.ModTime()) })
	for _, f := range files {
		if total <= c.limit {
			return
		}
		if os.Remove(filepath.Join(c.dir, f.Name())) == nil {
			total -= f.Size()
		}
	}
}
