// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/goldkeep/goldkeep/client"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/report"
	"github.com/goldkeep/goldkeep/internal/sign"
	"github.com/goldkeep/goldkeep/internal/term"
	"github.com/goldkeep/goldkeep/internal/verdict"
)

func (a *app) imageCommand() *cobra.Command {
	list := term.Listing[client.Image]{
		Short:   "List the images the server knows or was asked about",
		Example: "  goldkeep image list\n  goldkeep image list -o json | jq -r '.[] | select(.state==\"wanted\") | .name'", What: "images",
		Ask:  (*client.Client).Images,
		Head: []any{"NAME", "KIND", "STATE", "SCANNED", "DIGEST"},
		Rows: func(t *term.Table, i client.Image) { t.Row(i.Name, i.Kind, i.State, i.Scanned, i.ID) },
	}
	show := term.Showing[*client.Image]{
		Use: "show", Short: "Show one image and its verdicts",
		Example: "  goldkeep image show sha256:4f7c...\n  goldkeep image show sha256:4f7c... -o json   # with all evidence",
		Ask:     (*client.Client).Image,
		Fill:    showImage,
	}
	commands := append(sign.ImageCommands(a.Term), a.imageAddCommand(), list.Command(a.Term), show.Command(a.Term, "DIGEST"), a.imageDiffCommand())
	return term.Group("image", "Sign images, tell the server about them, and see what it knows", commands...)
}

func (a *app) imageAddCommand() *cobra.Command {
	var name, of string
	cmd := &cobra.Command{
		Use: "add IMAGE", Short: "Have the server scan an image, a program or a bill of materials", Args: term.Wanted("IMAGE"),
		Long: "Have the server scan an image or a program. IMAGE is an OCI or docker-save archive, an\n" +
			"executable file, an OCI layout folder, podman:NAME or docker:NAME from the local store\n" +
			"(these are sent), or a registry reference (the server fetches it itself).\n\n" +
			"A bill of materials of another tool (CycloneDX or SPDX, JSON; sbom:FILE forces that) is kept\n" +
			"beside the images, so that \"advisory affected\" finds what it lists. --of names the image it is\n" +
			"said to be of; nothing is ever admitted by a bill, for anybody could have written it.",
		Example: "  goldkeep image add ./app.oci.tar\n  goldkeep image add podman:shop:1.2\n" +
			"  goldkeep image add ./bin/worker --name worker   # a plain program\n  goldkeep image add registry.example.com/team/shop:1.2\n" +
			"  goldkeep image add vendor.cdx.json --name erp --of sha256:4f7c...",
		RunE: a.Online(func(ctx context.Context, c *client.Client, args []string) error {
			add := func() (*client.Image, error) { return a.addImage(ctx, c, args[0], name) }
			if path, bill := billFile(args[0]); bill {
				add = func() (*client.Image, error) { return a.addBill(ctx, c, path, name, of) }
			} else if of != "" {
				return fault.New(fault.Invalid, "--of is for a bill of materials, and %s is none", args[0])
			}
			added, err := add()
			if err != nil {
				return err
			}
			return a.Print(added, func(t *term.Table) { showImage(t, added) })
		}),
	}
	cmd.Flags().StringVar(&name, "name", "", "the name to show for it; default: IMAGE, or what a bill says")
	cmd.Flags().StringVar(&of, "of", "", "digest of the image a bill of materials is said to be of")
	return cmd
}

func (a *app) addImage(ctx context.Context, c *client.Client, ref, name string) (*client.Image, error) {
	content, err := imageContent(ctx, ref)
	if err != nil {
		return nil, err
	}
	if content == nil {
		return c.PullImage(ctx, ref)
	}
	defer func() { _ = content.Close() }()
	a.Note("sending %s to %s", ref, c.Addr())
	// What goes wrong on this side explains more than the server's half of it.
	return c.AddImage(ctx, term.First(name, ref), content)
}

// imageContent opens what is to be sent; nil means that ref is a registry
// reference, which the server fetches itself.
func imageContent(ctx context.Context, ref string) (io.ReadCloser, error) {
	engine, name, _ := strings.Cut(ref, ":")
	if engine == "podman" || engine == "docker" && !strings.HasPrefix(name, "//") {
		return savedImage(ctx, engine, name)
	}
	info, err := os.Stat(ref)
	switch {
	case errors.Is(err, os.ErrNotExist) && looksLikeFile(ref):
		return nil, notFound("no such file or folder: %s", ref)
	case errors.Is(err, os.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fault.New(fault.Invalid, "open image: %w", err)
	case info.IsDir():
		return layoutArchive(ref)
	}
	file, err := os.Open(ref)
	if err != nil {
		return nil, fault.New(fault.Invalid, "open image: %w", err)
	}
	return file, nil
}

// looksLikeFile tells a mistyped file from a registry reference.
func looksLikeFile(ref string) bool {
	return strings.HasPrefix(ref, ".") || strings.HasPrefix(ref, "/") || strings.HasSuffix(ref, ".tar") || strings.HasSuffix(ref, ".tgz") || strings.HasSuffix(ref, ".gz")
}

// layoutArchive makes an OCI archive of an OCI layout folder while it is read.
func layoutArchive(dir string) (io.ReadCloser, error) {
	if _, err := os.Stat(filepath.Join(dir, "index.json")); err != nil {
		return nil, fault.New(fault.Invalid, "%s is a folder, but no OCI layout: it has no index.json", dir)
	}
	r, w := io.Pipe()
	go func() { // ends with the reader: Close on it makes every write fail
		archive := tar.NewWriter(w)
		err := archive.AddFS(os.DirFS(dir))
		w.CloseWithError(errors.Join(err, archive.Close()))
	}()
	return r, nil
}

// savedImage has the engine write an image of its store to a file that has no name.
func savedImage(ctx context.Context, engine, name string) (io.ReadCloser, error) {
	file, err := os.CreateTemp("", "goldkeep-image-*")
	if err != nil {
		return nil, fault.New(fault.Unavailable, "make temporary file: %w", err)
	}
	said := &strings.Builder{}
	cmd := exec.CommandContext(ctx, engine, "save", "--", name)
	cmd.Stdout, cmd.Stderr = file, said
	if err = os.Remove(file.Name()); err == nil {
		err = cmd.Run()
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err == nil {
		return file, nil
	}
	_ = file.Close() // the first error says more
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return nil, notFound("save image with %s: %s", engine, term.Printable(strings.TrimSpace(said.String()))).WithHint("see what is there with: %s images", engine)
	}
	return nil, fault.New(fault.Unavailable, "save image with %s: %w", engine, err).WithHint("install %s, or save the image to a file and add that", engine)
}

func showImage(t *term.Table, i *client.Image) {
	t.Row("name", i.Name)
	t.Row("image id", i.ID)
	t.Row("kind", i.Kind)
	var ev verdict.Evidence
	known := json.Unmarshal(i.Evidence, &ev) == nil
	if known && ev.Image.Origin != "" {
		t.Row("read from", ev.Image.Origin)
	}
	if known && ev.Image.About != "" {
		t.Row("said to be of", ev.Image.About)
	}
	t.Row("state", i.State)
	if i.Error != "" {
		t.Row("error", i.Error)
	}
	t.Row("first seen", i.FirstSeen)
	t.Row("scanned", i.Scanned)
	for _, d := range i.Digests {
		if d != i.ID {
			t.Row("also known as", d)
		}
	}
	if base := report.Base(ev.Image, time.Now()); base != "" {
		t.Row("base", base)
	}
	for _, v := range i.Verdicts {
		t.Row("verdict in "+v.Environment, answers(v))
	}
}
