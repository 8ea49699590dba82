// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/component"
	"github.com/goldkeep/goldkeep/internal/finding"
	"github.com/goldkeep/goldkeep/internal/image"
)

// cut writes to out what is left of a data folder without all that no package is
// found in and no advisory needs: small enough for the repository's own tests. Of
// an image of programs only the list of packages is kept.
func cut(ctx context.Context, data, out string) error {
	wanted, err := load(filepath.Join(data, "expected.json"))
	if err != nil {
		return err
	}
	keys := map[advisory.Key]bool{}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		w := wanted[name]
		img, err := image.Open(ctx, filepath.Join(data, w.File), image.Options{Platform: w.Platform.OS + "/" + w.Platform.Architecture})
		if err != nil {
			return err
		}
		reports, err := component.ReadLayers(ctx, img, image.Limits{}, func(image.Layer) (*component.LayerReport, bool) { return nil, false })
		if err != nil {
			return err
		}
		inv := component.Join(img, reports)
		for _, k := range finding.Keys(*inv) {
			keys[k] = true
		}
		w.File = "images/" + strings.NewReplacer(" ", "-", "(", "", ")", "").Replace(name)
		if len(w.Debian.Packages) == 0 {
			w.File += ".json"
			err = writeJSON(filepath.Join(out, w.File), inv)
		} else {
			w.File += ".oci.tar"
			err = cutImage(ctx, img, filepath.Join(out, w.File))
		}
		if err != nil {
			return err
		}
		wanted[name] = w
	}
	names, err := cutFeeds(data, out, keys)
	if err != nil {
		return err
	}
	if err := cutScores(data, out, names); err != nil {
		return err
	}
	return writeJSON(filepath.Join(out, "expected.json"), map[string]any{"images": wanted})
}

func writeJSON(name string, value any) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(name, append(text, '\n'), 0o644)
}

// cutImage writes an image anew with the files that name packages and nothing else.
func cutImage(ctx context.Context, img *image.Image, name string) error {
	files := map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}
	blob := func(media string, content []byte) map[string]any {
		sum := sha256.Sum256(content)
		digest := hex.EncodeToString(sum[:])
		files["blobs/sha256/"+digest] = content
		return map[string]any{"mediaType": media, "digest": "sha256:" + digest, "size": len(content)}
	}
	var layers []any
	var diffs []string
	for _, l := range img.Layers {
		plain, err := cutLayer(ctx, l)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(plain)
		diffs = append(diffs, "sha256:"+hex.EncodeToString(sum[:]))
		packed, err := packed(plain)
		if err != nil {
			return err
		}
		layers = append(layers, blob("application/vnd.oci.image.layer.v1.tar+gzip", packed))
	}
	ports := map[string]any{}
	for _, p := range img.Config.Ports {
		ports[p] = struct{}{}
	}
	config, err := json.Marshal(map[string]any{
		"os": "linux", "architecture": "amd64", "created": img.Created, "rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
		"config": map[string]any{"User": img.Config.User, "ExposedPorts": ports},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": blob("application/vnd.oci.image.config.v1+json", config), "layers": layers,
	})
	if err != nil {
		return err
	}
	files["index.json"], err = json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []any{blob("application/vnd.oci.image.manifest.v1+json", manifest)}})
	if err != nil {
		return err
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := addFile(w, &tar.Header{Name: name, Mode: 0o644}, files[name]); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	return os.WriteFile(name, out.Bytes(), 0o644)
}

func packed(plain []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	err = w.Close() // before Bytes: it flushes
	return out.Bytes(), err
}

func addFile(w *tar.Writer, h *tar.Header, content []byte) error {
	h.Size = int64(len(content))
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}

func cutLayer(ctx context.Context, l image.Layer) ([]byte, error) {
	in, err := l.Open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if err == io.EOF {
			err := w.Close()
			return out.Bytes(), err
		}
		if err != nil {
			return nil, err
		}
		name := path.Clean(h.Name)
		header := &tar.Header{Name: name, Typeflag: h.Typeflag, Linkname: h.Linkname, Mode: h.Mode}
		switch {
		case h.Typeflag == tar.TypeSymlink && strings.Count(name, "/") < 2, strings.HasPrefix(path.Base(name), ".wh."):
			err = addFile(w, header, nil)
		case h.Typeflag == tar.TypeReg:
			var raw []byte
			if raw, err = io.ReadAll(r); err == nil {
				if raw = cutFile(name, raw); raw != nil {
					err = addFile(w, header, raw)
				}
			}
		}
		if err != nil {
			return nil, err
		}
	}
}

// cutFile returns what is left of a file; nil: nothing.
func cutFile(name string, raw []byte) []byte {
	switch {
	case name == "var/lib/dpkg/status":
		return lines(raw, func(l string) bool {
			field, _, _ := strings.Cut(l, ":")
			return l == "" || slices.Contains([]string{"Package", "Status", "Architecture", "Version", "Source", "Maintainer"}, field)
		})
	case strings.HasPrefix(name, "var/lib/dpkg/info/") && strings.HasSuffix(name, ".list"):
		return lines(raw, namesPackage)
	case strings.HasSuffix(name, "os-release"):
		return raw
	case namesPackage(name):
		return lines(raw, func(l string) bool {
			field, _, _ := strings.Cut(l, ":")
			return slices.Contains([]string{"Metadata-Version", "Name", "Version", "License"}, field)
		})
	}
	return nil
}

// namesPackage knows the files Python packages are found by.
func namesPackage(name string) bool {
	return strings.HasSuffix(name, ".dist-info/METADATA") || strings.HasSuffix(name, ".egg-info/PKG-INFO") || strings.HasSuffix(name, ".egg-info")
}

// lines keeps some lines of a text; nil where none is left.
func lines(raw []byte, keep func(string) bool) []byte {
	var out []byte
	in := bufio.NewScanner(bytes.NewReader(raw))
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		if keep(in.Text()) {
			out = append(append(out, in.Bytes()...), '\n')
		}
	}
	return out
}

// cutFeeds keeps the records that name one of the packages, and returns all their names.
func cutFeeds(data, out string, keys map[advisory.Key]bool) (map[string]bool, error) {
	feeds, err := filepath.Glob(filepath.Join(data, "osv", "*", "all.zip"))
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, feed := range feeds {
		in, err := zip.OpenReader(feed)
		if err != nil {
			return nil, err
		}
		kept := 0
		var packed bytes.Buffer
		w := zip.NewWriter(&packed)
		for _, f := range in.File {
			text, rec, err := cutRecord(f)
			if err != nil {
				return nil, err
			}
			if !slices.ContainsFunc(rec.Keys(), func(k advisory.Key) bool { return keys[k] }) {
				continue
			}
			kept++
			for _, n := range slices.Concat([]string{rec.ID}, rec.Aliases, rec.Upstream, rec.Related) {
				names[n] = true
			}
			member, err := w.CreateHeader(&zip.FileHeader{Name: f.Name, Method: zip.Deflate})
			if err != nil {
				return nil, err
			}
			if _, err := member.Write(text); err != nil {
				return nil, err
			}
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		if kept == 0 {
			continue
		}
		name := filepath.Join(out, "osv", filepath.Base(filepath.Dir(feed)), "all.zip")
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(name, packed.Bytes(), 0o644); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// cutRecord drops the long texts of a record.
func cutRecord(f *zip.File) ([]byte, advisory.Record, error) {
	in, err := f.Open()
	if err != nil {
		return nil, advisory.Record{}, err
	}
	defer func() { _ = in.Close() }()
	var whole map[string]any
	if err := json.NewDecoder(in).Decode(&whole); err != nil {
		return nil, advisory.Record{}, err
	}
	for _, long := range []string{"details", "references", "credits"} {
		delete(whole, long)
	}
	text, err := json.Marshal(whole)
	if err != nil {
		return nil, advisory.Record{}, err
	}
	rec, err := advisory.Parse(text)
	return text, rec, err
}

// cutScores keeps what is said of the names.
func cutScores(data, out string, names map[string]bool) error {
	var kev map[string]any
	var cvss map[string]any
	for name, into := range map[string]*map[string]any{"kev.json": &kev, "cve-severity.json": &cvss} {
		raw, err := os.ReadFile(filepath.Join(data, name))
		if err != nil {
			return err
		}
		if err := json.Unmarshal(raw, into); err != nil {
			return err
		}
	}
	list, _ := kev["vulnerabilities"].([]any)
	kev["vulnerabilities"] = slices.DeleteFunc(list, func(v any) bool {
		entry, _ := v.(map[string]any)
		return !names[fmt.Sprint(entry["cveID"])]
	})
	maps.DeleteFunc(cvss, func(cve string, _ any) bool { return !names[cve] })
	if err := writeJSON(filepath.Join(out, "kev.json"), kev); err != nil {
		return err
	}
	if err := writeJSON(filepath.Join(out, "cve-severity.json"), cvss); err != nil {
		return err
	}
	raw, err := os.ReadFile(filepath.Join(data, "epss.csv"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(out, "epss.csv"), raw, 0o644)
}
