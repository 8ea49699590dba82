// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package advisory

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// fetchTime is how long one feed may take to arrive.
const fetchTime = 30 * time.Minute

func newClient() *http.Client {
	return &http.Client{
		Timeout: fetchTime,
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 15 * time.Second}).DialContext,
			TLSHandshakeTimeout:   15 * time.Second,
			ResponseHeaderTimeout: time.Minute,
			// A file is a file: without this, a server's own gzip would change the hash.
			DisableCompression: true,
		},
		CheckRedirect: checkRedirect,
	}
}

// maxRedirects is how often a server may point elsewhere.
const maxRedirects = 5

func checkRedirect(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("it was pointed elsewhere more than %d times", maxRedirects)
	case via[0].URL.Scheme == "https" && req.URL.Scheme != "https":
		return errors.New("it was pointed from https to an address that is not protected")
	}
	return nil
}

func checkURL(from string) error {
	u, err := url.Parse(from)
	if err != nil || u.Host == "" {
		return fault.New(fault.Invalid, "sync advisories: the URL is not understood")
	}
	return nil
}

// remote takes feeds over HTTP, each into a temporary file that is gone after.
func (x *Index) remote(from string, o SyncOptions) taker {
	client := o.Client
	if client == nil {
		client = newClient()
	}
	return func(ctx context.Context, src source, path string) (Change, error) {
		// The tag belongs to the address it was given for.
		address := strings.TrimSuffix(from, "/") + "/" + escape(path)
		tag, err := x.knownTag(ctx, src.feed, address)
		if err != nil {
			return Change{}, err
		}
		ctx, end := context.WithCancelCause(ctx)
		defer end(nil)
		res, err := get(ctx, client, address, tag)
		if err != nil {
			return Change{}, fault.New(fault.Unavailable, "fetch feed %s: %w", src.feed, err)
		}
		defer func() { _ = res.Body.Close() }()
		switch res.StatusCode {
		case http.StatusNotModified:
			c, _, err := x.unchanged(ctx, src, func(feedRow) bool { return true })
			return c, err
		case http.StatusNotFound, http.StatusGone:
			return Change{}, fault.New(fault.NotFound, "fetch feed %s: %w", src.feed, fs.ErrNotExist)
		case http.StatusOK:
			src.etag = tagFor(address, cmp.Or(res.Header.Get("ETag"), res.Header.Get("Last-Modified")))
			return x.download(ctx, src, watchFlow(ctx, res.Body, cmp.Or(o.Stall, time.Minute), end))
		}
		return Change{}, fault.New(fault.Unavailable, "fetch feed %s: the server answered %s", src.feed, res.Status)
	}
}

// minFlow is how many bytes a second must come, seen over the time of a stall.
const minFlow = 1 << 10

// flow counts what comes.
type flow struct {
	io.Reader
	came  atomic.Int64
	ended chan struct{} // closed when nothing more comes
	once  sync.Once
}

// watchFlow ends a fetch that sends next to nothing for a time.
func watchFlow(ctx context.Context, body io.Reader, stall time.Duration, end context.CancelCauseFunc) *flow {
	f := &flow{Reader: body, ended: make(chan struct{})}
	least := max(1, int64(stall.Seconds()*minFlow))
	go func() {
		look := time.NewTicker(stall)
		defer look.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-f.ended:
				return
			case <-look.C:
				if f.came.Swap(0) < least {
					end(fault.New(fault.Unavailable, "it sends less than %d bytes in %s", least, stall))
					return
				}
			}
		}
	}()
	return f
}

// Read implements io.Reader.
func (f *flow) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	f.came.Add(int64(n))
	if err != nil {
		f.once.Do(func() { close(f.ended) })
	}
	return n, err
}

func escape(path string) string {
	return (&url.URL{Path: path}).EscapedPath()
}

// get asks for address unless it still has the given tag. Its errors leave the
// address out: it may hold credentials.
func get(ctx context.Context, client *http.Client, address, tag string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, errors.New("the URL is not understood")
	}
	switch {
	case strings.HasPrefix(tag, `"`), strings.HasPrefix(tag, `W/"`):
		req.Header.Set("If-None-Match", tag)
	case tag != "":
		req.Header.Set("If-Modified-Since", tag)
	}
	res, err := client.Do(req)
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return nil, wrapped.Err
	}
	return res, err
}

// download keeps a feed in a temporary file while it is read.
func (x *Index) download(ctx context.Context, src source, body io.Reader) (Change, error) {
	tmp, err := os.CreateTemp("", "goldkeep-feed-*")
	if err != nil {
		return Change{}, fault.New(fault.Internal, "fetch feed %s: %w", src.feed, err)
	}
	defer func() {
		_ = tmp.Close()
		_ = os.Remove(tmp.Name())
	}()
	in := &counter{r: io.LimitReader(body, MaxFeed+1), report: src.progress}
	size, err := io.Copy(tmp, in)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	if err != nil {
		kind := fault.KindOf(err)
		if kind == fault.Internal {
			kind = fault.Unavailable
		}
		return Change{}, fault.New(kind, "fetch feed %s: %w", src.feed, err)
	}
	if size > MaxFeed {
		return Change{}, fault.New(fault.TooLarge, "fetch feed %s: over %d bytes", src.feed, int64(MaxFeed))
	}
	if _, err := tmp.Seek(0, io.SeekStart); err != nil {
		return Change{}, fault.New(fault.Internal, "fetch feed %s: %w", src.feed, err)
	}
	return x.importFile(ctx, src, tmp, size)
}

// counter reports how much was read, once a MiB.
type counter struct {
	r      io.Reader
	done   int
	report func(done, total int)
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if before := c.done >> 20; (c.done+n)>>20 > before && c.report != nil {
		c.report(c.done+n, -1)
	}
	c.done += n
	return n, err
}

// tagFor joins a tag with its address (hashed: it may hold credentials).
func tagFor(address, tag string) string {
	if tag == "" || len(tag) > maxName {
		return ""
	}
	sum := sha256.Sum256([]byte(address))
	return hex.EncodeToString(sum[:8]) + " " + tag
}

// knownTag returns the tag the feed had when it was last taken from address.
func (x *Index) knownTag(ctx context.Context, feed, address string) (string, error) {
	var tag string
	err := x.st.View(ctx, func(tx store.Tx) error {
		tag = ""
		old, known, err := x.feed(ctx, tx, feed)
		if err == nil && known && old.reader == readerVersion {
			tag = old.etag
		}
		return err
	})
	if err != nil {
		return "", fault.New(fault.KindOf(err), "read feed %s: %w", feed, err)
	}
	where, tag, _ := strings.Cut(tag, " ")
	if tagFor(address, tag) != where+" "+tag {
		return "", nil
	}
	return tag, nil
}
