// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// TestUnseenIsDeniedThenFetched: an image is denied until known, and asking for it
// by reference makes it known.
func TestUnseenIsDeniedThenFetched(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	reg := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer reg.Close()
	repository := strings.TrimPrefix(reg.URL, "http://") + "/app"
	img := debian(t, "wanted")
	ok(t, remote.Write(must(name.ParseReference(repository+":1"))(t), img))
	digest := must(img.Digest())(t).String()
	must(w.UploadFeed(ctx, "Debian", strings.NewReader(string(feed(t)))))(t)
	must(w.Apply(ctx, documents(digest)))(t)

	for _, ref := range []string{"", repository + ":1", repository + "@sha256:" + strings.Repeat("1", 64)} {
		if v, err := w.AskVerdict(ctx, "prod", digest, ref); err == nil {
			t.Errorf("the reference %q was taken: %+v", ref, v)
		}
	}
	if v := must(w.Verdict(ctx, "prod", digest))(t); v.Admit.Answer != "unknown" {
		t.Errorf("before anybody brought it: %+v", v.Admit)
	}
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	bound := time.NewTimer(30 * time.Second)
	defer bound.Stop()
	for {
		v := must(w.AskVerdict(ctx, "prod", digest, repository+"@"+digest))(t)
		if v.Admit.Answer == "yes" {
			break
		}
		if v.Admit.Answer != "unknown" {
			t.Fatalf("asked: %+v", v.Admit)
		}
		select {
		case <-look.C:
		case <-bound.C:
			t.Fatal("it was never fetched")
		}
	}
}
