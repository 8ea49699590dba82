// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package verdict

import (
	"slices"
	"strings"
	"time"

	"github.com/goldkeep/goldkeep/internal/component"
)

func (j *judge) judgeChannel(names Names) {
	if j.ev.Channels == nil {
		j.unknown("channel", "the channels of the image were not looked up", "", "ask a server that keeps golden images")
		return
	}
	var stands []string
	for _, c := range j.ev.Channels {
		if slices.Contains(names, c.Name) {
			return
		}
		stands = append(stands, "stands in "+c.Golden+" "+c.Name)
	}
	j.no("channel", "the image is not in channel "+orList(names)+" of any golden image", stands,
		"use an image that is "+orList(names)+", or have its owner put this digest into the channel of a golden image")
}

func (j *judge) judgeSignedBy(signers Names) {
	if j.ev.Signatures == nil {
		j.unknown("signedBy", "signatures were not looked for", "", "verify the image's signatures first")
		return
	}
	approved := map[string]bool{}
	var missing, found []string
	for _, s := range j.ev.Signatures {
		approved[s.Signer] = approved[s.Signer] || s.Type == Approval
		found = append(found, s.shown())
	}
	for _, name := range signers {
		if !approved[name] {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		j.no("signedBy", "no verified signature by "+strings.Join(missing, ", "), found, "have it signed by "+strings.Join(missing, " and ")+": goldkeep image sign")
		if owners := j.ownersOf(missing); owners != "" {
			j.reasons[len(j.reasons)-1].Owner = OneLine(owners)
		}
	}
}

// ownersOf is who to call about signatures: the owners of signers.
func (j *judge) ownersOf(names []string) string {
	var all []string
	for _, name := range names {
		i := slices.IndexFunc(j.ev.Signers, func(s Signer) bool { return s.Name == name && s.Owner != "" })
		if i < 0 {
			continue
		}
		s := j.ev.Signers[i]
		if owner := named(s.Owner, s.Contact); !slices.Contains(all, owner) {
			all = append(all, owner)
		}
	}
	return strings.Join(all, ", ")
}

// shown is a signature as evidence.
func (s Signature) shown() string {
	if s.Type == Approval {
		return "signed by " + s.Signer
	}
	text := s.Signer + " says " + s.Type
	if s.Result != "" {
		text += ": " + s.Result
	}
	return text
}

func (a *Advisories) judge(j *judge) {
	if j.ev.Snapshot == "" || j.ev.SnapshotAt.IsZero() {
		j.unknownDatabase("advisories")
		return
	}
	stale := exact(j.ev.SnapshotAt.Add(time.Duration(a.MaxAge)))
	if j.now.Before(stale) {
		j.changes(stale)
		return
	}
	j.unknown("advisories", "the advisory database was last synced "+j.ev.SnapshotAt.Format(time.RFC3339)+", longer ago than "+a.MaxAge.String(),
		j.env.Owner, "run goldkeep advisory sync")
}

func (j *judge) unknownDatabase(rule string) {
	j.unknown(rule, "there is no advisory database: no finding could be known", j.env.Owner, "run goldkeep advisory sync")
}

// notInBill says that a bill of materials does not tell what a rule asks about.
func (j *judge) notInBill(rule string, warning bool) {
	const text, remedy = "a bill of materials does not tell", "check the image itself: goldkeep check IMAGE"
	if warning {
		j.warn(rule, text, nil, remedy, time.Time{})
		return
	}
	j.unknown(rule, text, "", remedy)
}

func (l *Labels) judge(j *judge) {
	if j.ev.Image.Kind == Bill {
		j.notInBill("labels", false)
		return
	}
	var missing []string
	for _, name := range l.Require {
		if j.ev.Image.Labels[name] == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		j.no("labels", "label "+strings.Join(missing, ", ")+" is missing", missing, "set it when building: LABEL "+missing[0]+"=...")
	}
}

// wanted is one thing a Hygiene rule asks about.
type wanted struct {
	name  string
	level Level
	kind  component.FactKind
	text  string
}

func (h *Hygiene) wanted() []wanted {
	return []wanted{
		{"embeddedSecrets", h.EmbeddedSecrets, component.EmbeddedSecret, "a credential is in the image"},
		{"root", h.Root, component.RootUser, "it runs as root"},
		{"shell", h.Shell, component.Shell, "it has a shell"},
		{"packageManager", h.PackageManager, component.PackageManager, "it has a package manager"},
		{"compiler", h.Compiler, component.Compiler, "it has a compiler"},
		{"networkTool", h.NetworkTool, component.NetworkTool, "it has network tools"},
		{"setuid", h.SetUID, component.SetUID, "it has set-uid or set-gid files"},
		{"fileCapability", h.FileCapability, component.Capability, "files carry capabilities"},
		{"worldWritable", h.WorldWritable, component.WorldWritable, "everybody may write files of it"},
		{"remoteLogin", h.RemoteLogin, component.RemoteLogin, "it offers a remote login"},
		{"unpinnedBase", h.UnpinnedBase, component.UnpinnedBase, "its base image is not pinned to a digest"},
	}
}

func (h *Hygiene) judge(j *judge) {
	for _, w := range h.wanted() {
		if w.level != Deny && w.level != Caution {
			continue
		}
		if j.ev.Image.Kind == Bill {
			j.notInBill("hygiene."+w.name, w.level == Caution)
			continue
		}
		found := j.facts(w.kind)
		_, remedy := component.Explain(w.kind)
		switch {
		case len(found) == 0:
		case w.level == Deny:
			j.no("hygiene."+w.name, w.text, found, remedy)
		default:
			j.warn("hygiene."+w.name, w.text, found, remedy, time.Time{})
		}
	}
}

// facts lists the facts of a kind that are in the final image; for credentials
// also those a later layer deleted, for they can still be read.
func (j *judge) facts(kind component.FactKind) []string {
	var found []string
	for _, f := range j.ev.Facts {
		if f.Kind != kind || f.Deleted && kind != component.EmbeddedSecret {
			continue
		}
		text := f.Path
		if f.Detail != "" {
			text += " (" + f.Detail + ")"
		}
		if f.Deleted {
			text += ", deleted by a later layer, yet there to read"
		}
		found = append(found, strings.TrimSpace(text))
	}
	slices.Sort(found)
	return found
}
