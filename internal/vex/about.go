// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package vex

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/store"
)

// A vendor may speak of its own packages and of no others: else whoever gets into the
// feed of one could have every finding of all images hidden.

// Feed is a vendor, and what it may speak of.
type Feed struct {
	Vendor string
	// About are beginnings of package URLs, whole up to a slash: "pkg:deb/debian",
	// "pkg:golang/github.com/acme". "pkg:" is everything. Empty: as it was.
	About []string
}

// everything is what a vendor may speak of whom nobody bound.
const everything = "pkg:"

// skew is how far in the future a vendor's statement may be dated: clocks differ. One
// dated further ahead would be the newest for as long as it likes.
const skew = time.Hour

// Check says what is wrong with a feed.
func (f Feed) Check() error {
	if !vendorName.MatchString(f.Vendor) {
		return fault.New(fault.Invalid, "%.80q is no name of a vendor: use lower-case letters, digits, '-' and '.'", f.Vendor)
	}
	return checkAbout(f.About)
}

// checkAbout refuses what is no beginning of a package URL.
func checkAbout(about []string) error {
	const most, longest = 50, 300
	for _, a := range about {
		if !strings.HasPrefix(a, "pkg:") || strings.ContainsAny(a, " @?#\t\n") || len(a) > longest {
			return fault.New(fault.Invalid, "%.80q is no beginning of a package URL", a).WithHint("for example pkg:deb/debian, pkg:golang/github.com/acme, or pkg: for everything")
		}
	}
	if len(about) > most {
		return fault.New(fault.TooLarge, "a vendor may speak of at most %d kinds of package", most)
	}
	return nil
}

// bound returns what a vendor may speak of from now on.
func (b *Book) bound(ctx context.Context, f Feed) ([]string, error) {
	if len(f.About) > 0 {
		return f.About, nil
	}
	var text string
	err := b.st.View(ctx, func(tx store.Tx) error {
		return tx.QueryRow(ctx, "SELECT about FROM vex_vendor WHERE name = ?", f.Vendor).Scan(&text)
	})
	if errors.Is(err, store.ErrNoRows) {
		return nil, fault.New(fault.Invalid, "nobody has said which packages %s may speak of", f.Vendor).
			WithHint("name them, as in: goldkeep vex sync %s --about pkg:deb/debian (or --about pkg: for all there are)", f.Vendor)
	}
	return strings.Fields(text), err
}

// mayAbout reports whether a package URL begins with one of some.
func mayAbout(about []string, p PURL) bool {
	name := strings.ToLower("pkg:" + p.Type + "/" + strings.Trim(p.Namespace+"/"+p.Name, "/") + "/")
	for _, a := range about {
		plain, err := url.PathUnescape(a)
		if err != nil {
			continue
		}
		if a == everything || strings.HasPrefix(name, strings.ToLower(strings.TrimRight(plain, "/"))+"/") {
			return true
		}
	}
	return false
}
