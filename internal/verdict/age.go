// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"strings"
	"time"
)

// skew is how far in the future a build time may lie: clocks differ.
const skew = time.Hour

// reproducible is the latest build time that means "not stated": reproducible
// builds write 1970 or 1980.
var reproducible = time.Date(1980, 1, 2, 0, 0, 0, 0, time.UTC)

// built is something with an age: what it is called, and the way out.
type built struct {
	rule, what      string
	created         time.Time
	remedy, undated string // too old; no build time
}

func (a *Age) judge(j *judge) {
	a.judgeBuilt(j, built{
		"age", "the image", j.ev.Image.Created,
		"rebuild it on a current base image", "build it with a real creation time (SOURCE_DATE_EPOCH, --timestamp)",
	})
}

// judgeBase judges the image that the image is built on. That must be known by its
// layers: what an image says of its base is nothing to rely on, and tells no age.
func (a *Age) judgeBase(j *judge) {
	base := j.ev.Image.BaseImage
	switch {
	case j.ev.Image.Kind == Program:
		return // it has none
	case j.ev.Image.Kind == Bill:
		j.notInBill("baseAge", false)
		return
	case base.By != "layers":
		j.unknown("baseAge", "what the image is built on is not known", "", "tell the server of the base image: goldkeep image add BASE, best as a golden image")
		return
	}
	name := base.Name
	if base.Golden != "" {
		name = strings.TrimSpace(base.Golden + " " + base.Channel)
	}
	remedy := "build it on a newer base image"
	if base.Newest != "" {
		remedy = "rebuild it: a newer " + name + " is there, " + base.Newest
	}
	before := len(j.reasons)
	a.judgeBuilt(j, built{"baseAge", "the base image " + name, base.Created, remedy, "build the base image with a real creation time"})
	if base.Newest != "" || base.Owner == "" {
		return // the image's owner can do something about it
	}
	for i := range j.reasons[before:] {
		r := &j.reasons[before+i]
		r.Owner = OneLine(named(base.Owner, base.Contact))
		r.Remedy = OneLine("have its owner publish a newer one, then rebuild on it")
	}
}

// named is an owner with the way to call.
func named(owner, contact string) string {
	if contact == "" {
		return owner
	}
	return owner + " (" + contact + ")"
}

func (a *Age) judgeBuilt(j *judge, b built) {
	if !b.created.After(reproducible) {
		j.unknown(b.rule, b.what+" does not say when it was built", "", b.undated)
		return
	}
	if start := b.created.Add(-skew); j.now.Before(start) {
		j.changes(start)
		j.unknown(b.rule, b.what+" says it was built in the future: "+b.created.Format(time.RFC3339), "", "rebuild it on a machine with the right time")
		return
	}
	old := exact(b.created.Add(time.Duration(a.Max)))
	dead := exact(old.Add(time.Duration(a.Grace)))
	when := []string{"built " + b.created.Format(time.RFC3339)}
	text := b.what + " is older than " + a.Max.String()
	switch {
	case j.now.Before(old):
		j.changes(old)
	case j.now.Before(dead):
		j.warn(b.rule, text, when, b.remedy, dead)
	default:
		j.no(b.rule, text, when, b.remedy)
	}
}
