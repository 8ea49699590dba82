// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goldkeep/goldkeep/internal/advisory"
	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/catalog"
	"github.com/goldkeep/goldkeep/internal/fleet"
	"github.com/goldkeep/goldkeep/internal/identity"
	"github.com/goldkeep/goldkeep/internal/image"
	"github.com/goldkeep/goldkeep/internal/manifest"
	"github.com/goldkeep/goldkeep/internal/store"
	"github.com/goldkeep/goldkeep/internal/store/sqlite"
	"github.com/goldkeep/goldkeep/internal/verdict"
	"github.com/goldkeep/goldkeep/internal/workload"
)

// feeds are the ecosystems of the fleet, with records in each and how many of them
// BenchmarkFeed10000 changes.
var feeds = []struct {
	name, ecosystem  string
	records, changed int
}{
	{"Debian", "Debian:12", 6000, 2500},
	{"Alpine", "Alpine:v3.20", 2000, 1000},
	{"AlmaLinux", "AlmaLinux:9", 2000, 1000},
	{"PyPI", "PyPI", 6000, 2000},
	{"npm", "npm", 8000, 2500},
	{"Go", "Go", 3000, 1000},
}

// fleetWorld is a server's image side with a fleet in it.
type fleetWorld struct {
	fleetMaker
	st       store.Store
	path     string
	catalog  *catalog.Catalog
	index    *advisory.Index
	identity *identity.Service

	workloads *workload.Book
}

// fleetSize is how many images there are: GOLDKEEP_FLEET, or few.
func fleetSize(b *testing.B) int {
	n, err := strconv.Atoi(os.Getenv("GOLDKEEP_FLEET"))
	if err != nil || n < 100 {
		return 1000
	}
	return n
}

// newFleet opens a fleet. With GOLDKEEP_FLEET_DIR it is made once, kept there, and
// copied.
func newFleet(b *testing.B) *fleetWorld {
	b.Helper()
	n := fleetSize(b)
	w := &fleetWorld{fleetMaker: fleetMaker{fleetPlan: planFleet(n), start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}}
	w.path = filepath.Join(b.TempDir(), "fleet.db")
	kept := ""
	if dir := os.Getenv("GOLDKEEP_FLEET_DIR"); dir != "" {
		kept = filepath.Join(dir, fmt.Sprintf("fleet-%d.db", n))
		if copyFile(b, kept, w.path) {
			w.open(b)
			w.employ(b)
			return w
		}
	}
	w.open(b)
	w.build(b)
	if kept != "" {
		ok(b, w.st.Close())
		copyFile(b, w.path, kept)
		w.open(b)
	}
	w.employ(b)
	return w
}

func ok(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func copyFile(b *testing.B, from, to string) bool {
	b.Helper()
	in, err := os.Open(from)
	if os.IsNotExist(err) {
		return false
	}
	ok(b, err)
	defer func() { _ = in.Close() }()
	out, err := os.Create(to)
	ok(b, err)
	_, err = io.Copy(out, in)
	ok(b, err)
	ok(b, out.Close())
	return true
}

func (w *fleetWorld) open(b *testing.B) {
	b.Helper()
	ctx := context.Background()
	st, err := sqlite.Open(ctx, w.path, sqlite.Options{})
	ok(b, err)
	b.Cleanup(func() { _ = st.Close() })
	w.st, w.index = st, advisory.New(st)
	w.catalog, err = catalog.New(ctx, st)
	ok(b, err)
	w.identity, err = identity.New(ctx, identity.Options{
		Store: st, Catalog: w.catalog, Sealed: func() bool { return false }, Log: slog.New(slog.DiscardHandler),
	})
	ok(b, err)
}

// rules of the environments: as strict as people are.
const fleetRules = `
apiVersion: goldkeep.dev/v1
kind: Environment
metadata: {name: %s, owner: security@example.com}
spec:
  admit:
    - vulnerabilities: {maxCVSS: 6.9, knownExploited: deny, grace: {high: 72h}, unfixed: allow}
    - hygiene: {root: deny, shell: warn}
    - age: {max: 60d}
  retain:
    - vulnerabilities: {knownExploited: deny, grace: {knownExploited: 24h}}
  onFail: warn
`

// build fills the database: the images, on all processors, the lines of golden images
// and the environments, and then the feeds for the first time.
func (w *fleetWorld) build(b *testing.B) {
	b.Helper()
	ctx, start := context.Background(), time.Now()
	var next atomic.Int64
	var group sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for i := int(next.Add(1) - 1); i < w.images; i = int(next.Add(1) - 1) {
				img, ev := w.image(i).evidence()
				if err := w.catalog.Learn(ctx, img, ev); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	b.Logf("%d images learned in %s", w.images, time.Since(start))
	for n := 0; n < (w.images-w.bases-w.runtimes)/25; n += 2 {
		channels := map[string]image.Digest{}
		for i, name := range []string{"gold", "silver", "bronze"} {
			img, _ := w.app(n, 22+i).evidence()
			channels[name] = img.ID
		}
		_, err := w.catalog.PutGolden(ctx, catalog.Golden{Name: fmt.Sprint("app-", n), Owner: fmt.Sprint("team-", n%200), Contact: fmt.Sprint("#team-", n%200), Channels: channels})
		ok(b, err)
	}
	for _, name := range []string{"dev", "staging", "prod"} {
		docs, err := manifest.Parse("env.yaml", fmt.Appendf(nil, fleetRules, name))
		ok(b, err)
		env, err := verdict.ParseEnvironment(docs[0])
		ok(b, err)
		ok(b, w.catalog.PutEnvironment(ctx, *env, false))
	}
	b.Logf("golden images and environments after %s", time.Since(start))
	for _, f := range feeds {
		change := w.take(b, f.name, advisories(f.ecosystem, f.records, 0, 0))
		_, err := w.identity.Refresh(ctx, change.Keys)
		ok(b, err)
		ok(b, w.index.Settle(ctx, change))
	}
	b.Logf("made in %s", time.Since(start))
}

// employ declares a workload for every golden image, which runs its gold. Their book is
// sealed with a key that is not kept, so this is done each time.
func (w *fleetWorld) employ(b *testing.B) {
	b.Helper()
	ctx := context.Background()
	keys, err := barrier.Open(ctx, w.st)
	ok(b, err)
	key := make([]byte, 32)
	_, err = keys.Init(ctx, barrier.InitOptions{KeyFile: key})
	ok(b, err)
	ok(b, keys.UnsealWithFile(ctx, key))
	w.workloads, err = workload.New(ctx, w.st, keys)
	ok(b, err)
	w.workloads.OnChange = func(ctx context.Context, tx store.Tx, one workload.Workload) error {
		return w.catalog.PutRun(ctx, tx, catalog.Run{Workload: one.Name, Environment: one.Environment, Golden: one.Image.Golden, Channel: one.Image.Channel})
	}
	goldens, err := w.catalog.Goldens(ctx)
	ok(b, err)
	for _, g := range goldens {
		ok(b, w.workloads.Put(ctx, workload.Workload{Name: g.Name, Owner: g.Owner, Contact: g.Contact, Environment: "prod", Image: workload.Image{Golden: g.Name, Channel: "gold"}}))
	}
}

// take imports a feed.
func (w *fleetWorld) take(b *testing.B, feed string, body []byte) advisory.Change {
	b.Helper()
	change, err := w.index.Import(context.Background(), feed, bytes.NewReader(body), int64(len(body)), nil)
	ok(b, err)
	return change
}

// count asks for one number.
func (w *fleetWorld) count(b *testing.B, query string) (n float64) {
	b.Helper()
	ok(b, w.st.View(context.Background(), func(tx store.Tx) error { return tx.QueryRow(context.Background(), query).Scan(&n) }))
	return n
}

// size reports what the fleet costs.
func (w *fleetWorld) size(b *testing.B) {
	b.ReportMetric(w.count(b, "SELECT page_count * page_size / 1e6 FROM pragma_page_count, pragma_page_size"), "db-MB")
	b.ReportMetric(w.count(b, "SELECT COUNT(*) FROM catalog_image"), "images")
	b.ReportMetric(w.count(b, "SELECT COUNT(*) FROM fleet_part"), "parts")
	b.ReportMetric(w.count(b, "SELECT COUNT(*) FROM catalog_verdict"), "kept-verdicts")
	b.ReportMetric(memory(b, "VmHWM"), "peak-MB")
}

// memory is a line of the kernel's account of this process, in MB.
func memory(b *testing.B, what string) float64 {
	text, err := os.ReadFile("/proc/self/status")
	ok(b, err)
	_, rest, _ := strings.Cut(string(text), what+":")
	kB, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	ok(b, err)
	return kB / 1000
}

// affected is the whole question: images, channels, what workloads run from them,
// instances. It returns how many workloads too.
func (w *fleetWorld) affected(b *testing.B, name string) (*catalog.Affected, int) {
	ctx := context.Background()
	hit, err := w.catalog.Affected(ctx, name, "", 1000)
	ok(b, err)
	var lines []workload.Image
	for _, s := range hit.Channels {
		lines = append(lines, workload.Image{Golden: s.Golden, Channel: s.Channel})
	}
	running, err := w.workloads.RunFrom(ctx, lines)
	ok(b, err)
	_, err = w.identity.On(ctx, hit.Watched)
	ok(b, err)
	return hit, len(running)
}

// byShare returns the flaw that hits about a share of the fleet's images.
func (w *fleetWorld) byShare(b *testing.B, share float64) string {
	b.Helper()
	ctx := context.Background()
	best, distance := "", 2.0
	ok(b, w.st.View(ctx, func(tx store.Tx) error {
		var ids []string
		err := store.Each(ctx, tx, func(r store.Row) error {
			var id string
			err := r.Scan(&id)
			ids = append(ids, id)
			return err
		}, "SELECT id FROM fleet_flaw WHERE num % 7 = 0 ORDER BY num LIMIT 600")
		f, errNew := fleet.New(ctx, w.st)
		if err != nil || errNew != nil {
			return err
		}
		for _, id := range ids {
			hit, err := f.Affected(ctx, tx, id)
			if err != nil {
				return err
			}
			if d := max(share, float64(len(hit.Images))/float64(w.images)) / min(share, float64(len(hit.Images)+1)/float64(w.images)); best == "" || d < distance {
				best, distance = id, d
			}
		}
		return nil
	}))
	return best
}

// BenchmarkAffected asks what one advisory hits, for advisories that hit about one
// image in a thousand, one in a hundred, and a tenth of the fleet. Aim: under 50 ms.
func BenchmarkAffected(b *testing.B) {
	w := newFleet(b)
	for _, share := range []float64{0.001, 0.01, 0.1} {
		name := w.byShare(b, share)
		b.Run(fmt.Sprint(share), func(b *testing.B) {
			hit, workloads := w.affected(b, name)
			before := cpuTime(b)
			for b.Loop() {
				hit, workloads = w.affected(b, name)
			}
			b.ReportMetric((cpuTime(b)-before).Seconds()*1000/float64(b.N), "cpu-ms")
			b.ReportMetric(float64(workloads), "hit-workloads")
			b.ReportMetric(float64(hit.Total), "hit-images")
			b.ReportMetric(float64(len(hit.Channels)), "hit-channels")
			b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "ms")
		})
	}
	b.Run("size", func(b *testing.B) { w.size(b) })
}

// BenchmarkOneAdvisory takes in one advisory that changes, again and again, on a package
// that about one image in a hundred has. Reading the feed is not counted.
func BenchmarkOneAdvisory(b *testing.B) {
	w := newFleet(b)
	ctx := context.Background()
	name := w.debianPackage(b, w.images/100)
	var refreshed fleet.Refreshed
	var verdicts float64
	var matched, judged, spent time.Duration
	edition := 0
	for b.Loop() {
		edition++
		b.StopTimer()
		change := w.take(b, "One", oneMore(name, edition))
		before, start := cpuTime(b), time.Now()
		b.StartTimer()
		var err error
		refreshed, err = w.catalog.Refresh(ctx, change.Keys)
		ok(b, err)
		matched += time.Since(start)
		b.StopTimer()
		verdicts = w.due(b)
		start = time.Now()
		b.StartTimer()
		_, err = w.identity.Refresh(ctx, nil)
		ok(b, err)
		judged += time.Since(start)
		ok(b, w.index.Settle(ctx, change))
		spent += cpuTime(b) - before
	}
	b.ReportMetric(matched.Seconds()*1000/float64(edition), "match-ms")
	b.ReportMetric(judged.Seconds()*1000/float64(edition), "judge-ms")
	b.ReportMetric(spent.Seconds()*1000/float64(edition), "cpu-ms")
	b.ReportMetric(float64(refreshed.Changed), "changed-parts")
	b.ReportMetric(float64(refreshed.Images), "hit-images")
	b.ReportMetric(verdicts, "new-verdicts")
}

// due counts the verdicts that are due.
func (w *fleetWorld) due(b *testing.B) float64 {
	return w.count(b, fmt.Sprintf("SELECT COUNT(*) FROM catalog_verdict WHERE until > 0 AND until <= %d", store.Millis(w.st.Now())))
}

// debianPackage returns the package that is in about so many images.
func (w *fleetWorld) debianPackage(b *testing.B, images int) string {
	b.Helper()
	ctx := context.Background()
	f, err := fleet.New(ctx, w.st)
	ok(b, err)
	best, distance := "", w.images
	ok(b, w.st.View(ctx, func(tx store.Tx) error {
		for p := 0; p < debs; p += 7 {
			name := fmt.Sprintf("source-package-%d", p)
			hit, err := f.Concerned(ctx, tx, []advisory.Key{advisory.NewKey("Debian:12", name)})
			if err != nil {
				return err
			}
			if d := max(len(hit)-images, images-len(hit)); len(hit) > 0 && d < distance {
				best, distance = name, d
			}
		}
		return nil
	}))
	return best
}

// BenchmarkFeed10000 takes in feeds with 10,000 changed advisories and draws all
// consequences: of feeds that are due together, as a server that fetches them does, and
// of one after the other, as when people send them. Aim: under 60 s on 2 processors.
func BenchmarkFeed10000(b *testing.B) {
	w := newFleet(b)
	w.catalog.OnKeep = func(context.Context, store.Tx, *verdict.Verdict, verdict.Verdict) error { return nil } // as in a server, old verdicts are read
	edition := 0
	b.Run("together", func(b *testing.B) {
		for b.Loop() {
			edition++
			w.feed10000(b, edition, len(feeds))
		}
	})
	b.Run("apart", func(b *testing.B) {
		for b.Loop() {
			edition++
			w.feed10000(b, edition, 1)
		}
	})
	b.Run("size", func(b *testing.B) { w.size(b) })
}

// feed10000 takes in the next edition of all feeds, so many of them at once.
func (w *fleetWorld) feed10000(b *testing.B, edition, atOnce int) {
	b.StopTimer()
	ctx := context.Background()
	bodies := make([][]byte, len(feeds))
	for i, f := range feeds {
		bodies[i] = advisories(f.ecosystem, f.records, f.changed, edition)
	}
	var total fleet.Refreshed
	var taken, matched, judged time.Duration
	var verdicts float64
	var changes []advisory.Change
	var keys []advisory.Key
	before := cpuTime(b)
	b.StartTimer()
	for i, f := range feeds {
		start := time.Now()
		change := w.take(b, f.name, bodies[i])
		changes, keys = append(changes, change), append(keys, change.Keys...)
		taken += time.Since(start)
		if len(changes) < atOnce {
			continue
		}
		start = time.Now()
		r, err := w.catalog.Refresh(ctx, keys)
		ok(b, err)
		matched += time.Since(start)
		total.Matched, total.Changed, total.Images = total.Matched+r.Matched, total.Changed+r.Changed, max(total.Images, r.Images)
		verdicts += w.due(b)
		start = time.Now()
		_, err = w.identity.Refresh(ctx, nil)
		ok(b, err)
		for _, c := range changes {
			ok(b, w.index.Settle(ctx, c))
		}
		judged += time.Since(start)
		changes, keys = nil, nil
	}
	b.ReportMetric(taken.Seconds(), "import-s")
	b.ReportMetric(matched.Seconds(), "match-s")
	b.ReportMetric(judged.Seconds(), "judge-s")
	b.ReportMetric((cpuTime(b) - before).Seconds(), "cpu-s")
	b.ReportMetric(float64(total.Changed), "changed-parts")
	b.ReportMetric(float64(total.Images), "hit-images")
	b.ReportMetric(verdicts, "new-verdicts")
}
