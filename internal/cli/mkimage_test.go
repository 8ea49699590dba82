// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// words is a flag that may be given again.
type words []string

// String implements flag.Value.
func (w *words) String() string { return strings.Join(*w, ",") }

// Set implements flag.Value.
func (w *words) Set(text string) error {
	*w = append(*w, text)
	return nil
}

// mkimage -layer FOLDER... OUT builds an OCI archive, a layer from each folder.
// The same folders give the same digests.
func mkimage(args []string) error {
	flags := flag.NewFlagSet("mkimage", flag.ContinueOnError)
	var layers, env, labels words
	flags.Var(&layers, "layer", "folder whose files are a layer")
	flags.Var(&env, "env", "NAME=VALUE")
	flags.Var(&labels, "label", "NAME=VALUE")
	user := flags.String("user", "", "user it runs as")
	created := flags.String("created", "2026-10-20T00:00:00Z", "when it was built")
	folder := flags.Bool("folder", false, "write a layout folder, no archive")
	if err := flags.Parse(args); err != nil {
		return err
	}
	labelled := map[string]string{}
	for _, l := range labels {
		name, value, _ := strings.Cut(l, "=")
		labelled[name] = value
	}
	img := &builder{files: map[string][]byte{"oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)}}
	var diffs []string
	var history, described []any
	for _, dir := range layers {
		packed, err := packLayer(dir)
		if err != nil {
			return err
		}
		blob := img.blob("application/vnd.oci.image.layer.v1.tar", packed)
		diffs = append(diffs, blob["digest"].(string))
		described = append(described, blob)
		history = append(history, map[string]any{"created": *created, "created_by": "COPY " + dir + " /"})
	}
	config := img.json("application/vnd.oci.image.config.v1+json", map[string]any{
		"architecture": "amd64", "os": "linux", "created": *created, "history": history,
		"config": map[string]any{"User": *user, "Env": env, "Labels": labelled},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
	})
	manifest := img.json("application/vnd.oci.image.manifest.v1+json", map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": config, "layers": described,
	})
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []any{manifest}})
	if err != nil {
		return err
	}
	img.files["index.json"] = index
	if *folder {
		return img.writeFolder(flags.Arg(0))
	}
	return img.writeArchive(flags.Arg(0))
}

// builder gathers the files of a layout.
type builder struct{ files map[string][]byte }

func (b *builder) json(media string, v any) map[string]any {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // only values made above
	}
	return b.blob(media, text)
}

// blob adds a blob and returns its descriptor.
func (b *builder) blob(media string, content []byte) map[string]any {
	sum := sha256.Sum256(content)
	b.files["blobs/sha256/"+hex.EncodeToString(sum[:])] = content
	return map[string]any{"mediaType": media, "digest": "sha256:" + hex.EncodeToString(sum[:]), "size": len(content)}
}

func (b *builder) writeFolder(dir string) error {
	for name, content := range b.files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (b *builder) writeArchive(path string) error {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for name, content := range b.files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			return err
		}
		if _, err := w.Write(content); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return os.WriteFile(path, out.Bytes(), 0o644)
}

// packLayer makes the tar of a folder; a file named NAME.setuid becomes NAME with
// the set-uid bit.
func packLayer(dir string) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		header := &tar.Header{Name: filepath.ToSlash(name), Mode: 0o644, Size: int64(len(content))}
		if plain, ok := strings.CutSuffix(header.Name, ".setuid"); ok {
			header.Name, header.Mode = plain, 0o4755
		}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		_, err = io.Copy(w, bytes.NewReader(content))
		return err
	})
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("pack layer: %w", err)
	}
	return out.Bytes(), nil
}
