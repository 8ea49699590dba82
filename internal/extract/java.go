// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package extract

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// javaExtensions are the archives that hold Java programs and libraries, those of
// NiFi and Jenkins among them.
var javaExtensions = []string{".jar", ".war", ".ear", ".nar", ".hpi", ".jpi"}

// IsJava knows a Java archive by its name.
func IsJava(name string) bool {
	return slices.Contains(javaExtensions, strings.ToLower(path.Ext(name)))
}

// Limits of one archive with all that is in it.
const (
	maxJarDepth   = 6       // archives in one another
	maxJarEntries = 400_000 // the largest servers have some 100,000
	maxJarIndex   = 24 << 20
	maxJarUnpack  = 1 << 30  // bytes decompressed
	maxInnerJar   = 64 << 20 // a compressed archive in an archive: it is unpacked in memory
	maxJarText    = 1 << 20  // a manifest, a project file
)

// javaReader reads one archive and those in it.
type javaReader struct {
	out      *Found
	entries  int
	index    int64
	unpacked int64
	held     int64 // bytes of archives that are unpacked now, one in another
}

// errLimit ends the reading: what is left out might be what matters.
var errLimit = errors.New("limit")

func limit(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errLimit, fmt.Sprintf(format, args...))
}

// The gaps an archive can leave.
const (
	notAnArchive   = "named as a Java archive, but it is none that can be read"
	unknownLibrary = "a Java archive that does not say which library it is"
	brokenEntry    = "a part of an archive cannot be read"
)

func readJava(ctx context.Context, file File, out *Found) {
	r := &javaReader{out: out}
	err := r.archive(ctx, jar{name: file.Name, content: file.Content, size: file.Size})
	switch {
	case errors.Is(err, errLimit):
		_, reason, _ := strings.Cut(err.Error(), ": ")
		out.fail("not read to the end: "+reason, true)
	case ctx.Err() != nil:
		out.fail("not read to the end", true)
	case err != nil:
		out.gap(notAnArchive)
	}
}

// gap notes, once for each file, what nobody can speak for.
func (f *Found) gap(reason string) {
	t := Trouble{Reason: reason, Uncovered: true}
	if !slices.Contains(f.Troubles, t) {
		f.Troubles = append(f.Troubles, t)
	}
}

// jar is one archive, perhaps inside another.
type jar struct {
	name    string // its own, of which only the last part matters
	inside  string // where it is in the outermost archive; "" it is that one
	depth   int
	content io.ReaderAt
	size    int64

	poms     []pom
	projects []pom // from pom.xml: they count where there are no properties
	manifest manifest
	classes  bool
	inner    bool
}

func (r *javaReader) archive(ctx context.Context, j jar) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if j.depth > maxJarDepth {
		return limit("more than %d archives in one another", maxJarDepth)
	}
	z, err := r.open(j.content, j.size)
	if err != nil {
		return err
	}
	for _, f := range z.File {
		if err := r.entry(ctx, &j, f); err != nil {
			return err
		}
	}
	r.identify(&j)
	return nil
}

// open reads an archive's list of files, within the limits.
func (r *javaReader) open(content io.ReaderAt, size int64) (*zip.Reader, error) {
	metered := &meter{r: content, left: maxJarIndex - r.index}
	z, err := zip.NewReader(metered, size)
	r.index = maxJarIndex - metered.left
	if metered.left < 0 {
		return nil, limit("its list of files is larger than %d MiB", maxJarIndex>>20)
	}
	if err != nil {
		return nil, err
	}
	metered.off = true
	if r.entries += len(z.File); r.entries > maxJarEntries {
		return nil, limit("more than %d files in it", maxJarEntries)
	}
	return z, nil
}

// entry looks at one file of an archive.
func (r *javaReader) entry(ctx context.Context, j *jar, f *zip.File) error {
	name := f.Name
	switch base := path.Base(name); {
	case strings.HasSuffix(name, "/"):
	case base == "pom.properties":
		return r.text(f, func(data []byte) { j.poms = append(j.poms, parsePomProperties(data)) })
	case base == "pom.xml" && strings.HasPrefix(name, "META-INF/maven/"):
		return r.text(f, func(data []byte) { j.projects = append(j.projects, parseProject(data, name)) })
	case strings.EqualFold(name, "META-INF/MANIFEST.MF"):
		return r.text(f, func(data []byte) { j.manifest = parseManifest(data) })
	case IsJava(name):
		j.inner = true
		return r.inner(ctx, j, f)
	case strings.HasSuffix(name, ".class"):
		j.classes = true
	}
	return nil
}

// text hands a small file over. One that cannot be read leaves a gap.
func (r *javaReader) text(f *zip.File, use func([]byte)) error {
	data, err := r.unpack(f, maxJarText)
	if errors.Is(err, errLimit) {
		return err
	}
	if err != nil {
		r.out.gap(brokenEntry)
		return nil
	}
	use(data)
	return nil
}

// inner reads an archive in an archive: in place where it is stored, as Spring
// Boot does, else unpacked in memory.
func (r *javaReader) inner(ctx context.Context, outer *jar, f *zip.File) error {
	j := jar{name: f.Name, inside: SafeText(f.Name), depth: outer.depth + 1}
	if len(j.inside) > longestPath {
		j.inside = short(j.inside)
	}
	if outer.inside != "" {
		j.inside = outer.inside + "!/" + j.inside
	}
	if at, err := f.DataOffset(); err == nil && f.Method == zip.Store && f.Flags&1 == 0 {
		j.size = int64(min(f.UncompressedSize64, uint64(outer.size)))
		j.content = io.NewSectionReader(outer.content, at, j.size)
		return r.within(ctx, j)
	}
	data, err := r.unpack(f, maxInnerJar-r.held)
	if errors.Is(err, errLimit) {
		return err
	}
	if err != nil {
		r.out.gap(brokenEntry)
		return nil
	}
	r.held += int64(cap(data))
	defer func() { r.held -= int64(cap(data)) }()
	j.content, j.size = bytes.NewReader(data), int64(len(data))
	return r.within(ctx, j)
}

// within reads an inner archive. One that is broken leaves a gap; a limit ends all.
func (r *javaReader) within(ctx context.Context, j jar) error {
	err := r.archive(ctx, j)
	if err == nil || errors.Is(err, errLimit) || ctx.Err() != nil {
		return err
	}
	r.out.gap(notAnArchive)
	return nil
}

// unpack reads a file of an archive. A file larger than its entry states is an
// error of archive/zip; one that is smaller costs what it has.
func (r *javaReader) unpack(f *zip.File, most int64) ([]byte, error) {
	if most = min(most, maxJarUnpack-r.unpacked); f.UncompressedSize64 > uint64(max(most, 0)) {
		return nil, limit("%s is too large when unpacked", short(path.Base(f.Name)))
	}
	content, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer content.Close()
	data, err := readGrowing(content, int(f.UncompressedSize64))
	r.unpacked += int64(len(data))
	return data, err
}

// readGrowing reads to the end, at most size bytes and one.
func readGrowing(r io.Reader, size int) ([]byte, error) {
	data := make([]byte, 0, min(size, 1<<20)+1)
	for {
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if errors.Is(err, io.EOF) {
			return data, nil
		}
		if err != nil {
			return data, err
		}
		if len(data) == cap(data) {
			if len(data) > size {
				return data, errBroken
			}
			data = append(make([]byte, 0, min(2*cap(data), size+1)), data...)
		}
	}
}

// meter bounds what is read of an archive's index: archive/zip keeps a few hundred
// bytes for each entry, of which an index can claim millions.
type meter struct {
	r    io.ReaderAt
	left int64
	off  bool
}

func (m *meter) ReadAt(p []byte, at int64) (int, error) {
	if m.off {
		return m.r.ReadAt(p, at)
	}
	if m.left -= int64(len(p)); m.left < 0 {
		return 0, errLimit
	}
	return m.r.ReadAt(p, at)
}
