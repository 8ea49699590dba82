// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// list is how every list of the API comes.
type list[T any] struct {
	Items []T `json:"items"`
}

func all[T any](ctx context.Context, c *Client, path string) ([]T, error) {
	var l list[T]
	err := c.Do(ctx, "GET", path, nil, &l)
	return l.Items, err
}

func one[T any](ctx context.Context, c *Client, path string) (*T, error) {
	v := new(T)
	if err := c.Do(ctx, "GET", path, nil, v); err != nil {
		return nil, err
	}
	return v, nil
}

func send[T any](ctx context.Context, c *Client, method, path string, in any) (*T, error) {
	v := new(T)
	if err := c.Do(ctx, method, path, in, v); err != nil {
		return nil, err
	}
	return v, nil
}

// page is how many items are asked for at once.
const page = 1000

// Images lists the images the server has seen, by ID.
func (c *Client) Images(ctx context.Context) ([]Image, error) {
	return pages(func(last *Image) ([]Image, error) {
		after := ""
		if last != nil {
			after = last.ID
		}
		return all[Image](ctx, c, fmt.Sprintf("/api/v1/images?limit=%d&after=%s", page, url.QueryEscape(after)))
	})
}

// pages asks for one page after the other, until one is not full.
func pages[T any](next func(last *T) ([]T, error)) ([]T, error) {
	var items []T
	var last *T
	for {
		more, err := next(last)
		items = append(items, more...)
		if err != nil || len(more) < page {
			return items, err
		}
		last = &items[len(items)-1]
	}
}

// Image returns one image, by any digest it goes by, with evidence and verdicts.
func (c *Client) Image(ctx context.Context, digest string) (*Image, error) {
	return one[Image](ctx, c, "/api/v1/images/"+url.PathEscape(digest))
}

// AddImage sends an image archive (OCI or docker-save) or an executable; the
// server scans it. Nothing but the content decides what it is.
func (c *Client) AddImage(ctx context.Context, name string, content io.Reader) (*Image, error) {
	return send[Image](ctx, c, "POST", "/api/v1/images?"+url.Values{"name": {name}}.Encode(), content)
}

// AddBill sends a bill of materials (CycloneDX or SPDX, JSON), under a name ("": as it
// says itself); of is the digest of the image that it is said to be of, or "".
func (c *Client) AddBill(ctx context.Context, name, of string, content io.Reader) (*Image, error) {
	return send[Image](ctx, c, "POST", "/api/v1/images?"+url.Values{"name": {name}, "of": {of}}.Encode(), content)
}

// PullImage has the server fetch an image from a registry and scan it.
func (c *Client) PullImage(ctx context.Context, reference string) (*Image, error) {
	return send[Image](ctx, c, "POST", "/api/v1/images/pull", map[string]string{"reference": reference})
}

// Verdict asks for the verdict on an image in an environment, now.
func (c *Client) Verdict(ctx context.Context, environment, digest string) (*Verdict, error) {
	return one[Verdict](ctx, c, "/api/v1/environments/"+url.PathEscape(environment)+"/verdicts/"+url.PathEscape(digest))
}

// AskVerdict is Verdict for an image in a registry (reference is NAME@DIGEST): one
// the server has never seen is denied, and fetched meanwhile; ask again.
func (c *Client) AskVerdict(ctx context.Context, environment, digest, reference string) (*Verdict, error) {
	path := "/api/v1/environments/" + url.PathEscape(environment) + "/verdicts/" + url.PathEscape(digest)
	return send[Verdict](ctx, c, "POST", path, map[string]string{"reference": reference})
}

// Check judges an image the server knows in an environment, now.
func (c *Client) Check(ctx context.Context, environment, digest string) (*Check, error) {
	return one[Check](ctx, c, "/api/v1/environments/"+url.PathEscape(environment)+"/checks/"+url.PathEscape(digest))
}

// KnownLayers returns those of some layers (at most 256) the server has read from
// these blobs: they may be left out of the archive AddImage sends.
func (c *Client) KnownLayers(ctx context.Context, layers []Layer) ([]Layer, error) {
	known, err := send[Layers](ctx, c, "POST", "/api/v1/layers", Layers{Layers: layers})
	if err != nil {
		return nil, err
	}
	return known.Layers, nil
}

// Environments lists the environments.
func (c *Client) Environments(ctx context.Context) ([]Environment, error) {
	return all[Environment](ctx, c, "/api/v1/environments")
}

// Environment returns one environment.
func (c *Client) Environment(ctx context.Context, name string) (*Environment, error) {
	return one[Environment](ctx, c, "/api/v1/environments/"+url.PathEscape(name))
}

// Goldens lists the golden images.
func (c *Client) Goldens(ctx context.Context) ([]Golden, error) {
	return all[Golden](ctx, c, "/api/v1/golden-images")
}

// Workloads lists the workloads.
func (c *Client) Workloads(ctx context.Context) ([]Workload, error) {
	return all[Workload](ctx, c, "/api/v1/workloads")
}

// Workload returns one workload.
func (c *Client) Workload(ctx context.Context, name string) (*Workload, error) {
	return one[Workload](ctx, c, "/api/v1/workloads/"+url.PathEscape(name))
}

// Instances lists the running instances, the one that changed first first; with
// ended also those that are gone.
func (c *Client) Instances(ctx context.Context, ended bool) ([]Instance, error) {
	return pages(func(last *Instance) ([]Instance, error) {
		after := int64(0)
		if last != nil {
			after = last.Revision
		}
		return all[Instance](ctx, c, fmt.Sprintf("/api/v1/instances?all=%t&limit=%d&after=%d", ended, page, after))
	})
}

// Instance returns one instance.
func (c *Client) Instance(ctx context.Context, id string) (*Instance, error) {
	return one[Instance](ctx, c, "/api/v1/instances/"+url.PathEscape(id))
}

// Admit asks for an identity for a workload an agent has attested.
func (c *Client) Admit(ctx context.Context, r AdmitRequest) (*Grant, error) {
	return send[Grant](ctx, c, "POST", "/api/v1/instances", r)
}

// Renew makes an instance's identity live on.
func (c *Client) Renew(ctx context.Context, id string, r RenewRequest) (*Grant, error) {
	return send[Grant](ctx, c, "POST", "/api/v1/instances/"+url.PathEscape(id)+"/renew", r)
}

// Leave ends an instance whose process has ended.
func (c *Client) Leave(ctx context.Context, node, id string) error {
	return c.Do(ctx, "DELETE", "/api/v1/instances/"+url.PathEscape(id)+"?node="+url.QueryEscape(node), nil, nil)
}

// Watch waits until something changed for a node, or until timeout (at most a
// minute).
func (c *Client) Watch(ctx context.Context, node string, since, secretsSince int64, timeout time.Duration) (*NodeChange, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout+Wait)
	defer cancel()
	q := url.Values{
		"since": {strconv.FormatInt(since, 10)}, "secretsSince": {strconv.FormatInt(secretsSince, 10)},
		"timeout": {timeout.String()},
	}
	return one[NodeChange](ctx, c, "/api/v1/nodes/"+url.PathEscape(node)+"/watch?"+q.Encode())
}

// EnrolNode makes a token for the agent of a node.
func (c *Client) EnrolNode(ctx context.Context, node string) (*NodeToken, error) {
	return send[NodeToken](ctx, c, "POST", "/api/v1/nodes/"+url.PathEscape(node), map[string]string{})
}

// Plan tells what documents would change.
func (c *Client) Plan(ctx context.Context, r PlanRequest) (*Plan, error) {
	return send[Plan](ctx, c, "POST", "/api/v1/plan", r)
}

// Apply makes the server be what documents say.
func (c *Client) Apply(ctx context.Context, r PlanRequest) (*Plan, error) {
	return send[Plan](ctx, c, "POST", "/api/v1/apply", r)
}

// Triages lists the decisions on findings.
func (c *Client) Triages(ctx context.Context) ([]Triage, error) {
	return all[Triage](ctx, c, "/api/v1/triage")
}

// TriageOn lists the decisions that count for an image, by any of its digests: its
// own, those of the golden images it comes from, and those of workloads that run it.
func (c *Client) TriageOn(ctx context.Context, digest string) ([]Triage, error) {
	return all[Triage](ctx, c, "/api/v1/triage?image="+url.QueryEscape(digest))
}

// PutTriage records a decision on a finding.
func (c *Client) PutTriage(ctx context.Context, t Triage) (*Triage, error) {
	return send[Triage](ctx, c, "POST", "/api/v1/triage", t)
}

// DeleteTriage takes a decision back.
func (c *Client) DeleteTriage(ctx context.Context, id string) error {
	return c.Do(ctx, "DELETE", "/api/v1/triage/"+url.PathEscape(id), nil, nil)
}

// ExportVEX writes the decisions on findings that count now as a VEX document, in the
// format "openvex" or "cyclonedx": those for an image, a golden image or a workload,
// or all of them. At most one of the three is named.
func (c *Client) ExportVEX(ctx context.Context, image, golden, workload, format string) (json.RawMessage, error) {
	query := url.Values{"image": {image}, "golden": {golden}, "workload": {workload}, "format": {format}}
	doc, err := one[json.RawMessage](ctx, c, "/api/v1/vex/export?"+query.Encode())
	if err != nil {
		return nil, err
	}
	return *doc, nil
}

// ImportVEX takes decisions on findings from a VEX document: all it can, or none.
func (c *Client) ImportVEX(ctx context.Context, in VEXImport) (*VEXImported, error) {
	return send[VEXImported](ctx, c, "POST", "/api/v1/vex/import", in)
}

// Vendors lists whose VEX statements count.
func (c *Client) Vendors(ctx context.Context) ([]Vendor, error) {
	return all[Vendor](ctx, c, "/api/v1/vex/vendors")
}

// UploadVendor sends all VEX documents of a vendor: a zip file, or one document. about
// are the packages it may speak of, by the beginnings of their package URLs; none: as it
// was said before.
func (c *Client) UploadVendor(ctx context.Context, vendor string, about []string, content io.Reader) (*VendorChange, error) {
	return send[VendorChange](ctx, c, "PUT", "/api/v1/vex/vendors/"+url.PathEscape(vendor)+"?"+url.Values{"about": {strings.Join(about, " ")}}.Encode(), content)
}

// ForgetVendor makes a vendor's statements count no more.
func (c *Client) ForgetVendor(ctx context.Context, vendor string) (*VendorChange, error) {
	return send[VendorChange](ctx, c, "DELETE", "/api/v1/vex/vendors/"+url.PathEscape(vendor), nil)
}

// Advisories returns the state of the server's advisory database.
func (c *Client) Advisories(ctx context.Context) (*Snapshot, error) {
	return one[Snapshot](ctx, c, "/api/v1/advisories")
}

// FetchFeeds makes every feed the server fetches by itself due at once. Whether
// they have been taken is seen in Advisories.
func (c *Client) FetchFeeds(ctx context.Context) (*Snapshot, error) {
	return send[Snapshot](ctx, c, "POST", "/api/v1/advisories", nil)
}

// Advisory returns the advisories with this id, or those that know it as another name.
func (c *Client) Advisory(ctx context.Context, id string) ([]Advisory, error) {
	return all[Advisory](ctx, c, "/api/v1/advisories/"+url.PathEscape(id))
}

// UploadFeed sends one feed (an OSV all.zip, kev.json or epss.csv) to the server.
func (c *Client) UploadFeed(ctx context.Context, feed string, content io.Reader) (*FeedChange, error) {
	return send[FeedChange](ctx, c, "PUT", "/api/v1/advisories/"+url.PathEscape(feed), content)
}

// Audit returns up to limit records after a sequence number, opened.
func (c *Client) Audit(ctx context.Context, after uint64, limit int) ([]AuditRecord, error) {
	return all[AuditRecord](ctx, c, fmt.Sprintf("/api/v1/audit?after=%d&limit=%d", after, limit))
}

// AuditAnchor is how far the server's audit log has come.
func (c *Client) AuditAnchor(ctx context.Context) (*AuditAnchor, error) {
	return one[AuditAnchor](ctx, c, "/api/v1/audit/anchor")
}

// Health tells how the server is; it does not fail where the server is sealed.
func (c *Client) Health(ctx context.Context) (*Health, error) {
	return one[Health](ctx, c, "/v1/sys/health?sealedcode=200&uninitcode=200&activecode=200")
}

// SealStatus tells whether the server can reach its secrets.
func (c *Client) SealStatus(ctx context.Context) (*SealStatus, error) {
	return one[SealStatus](ctx, c, "/v1/sys/seal-status")
}

// Init initializes the server; what it returns exists nowhere else.
func (c *Client) Init(ctx context.Context, shares, threshold int) (*InitResult, error) {
	return send[InitResult](ctx, c, "PUT", "/v1/sys/init", map[string]int{"secret_shares": shares, "secret_threshold": threshold})
}

// InitRecovery initializes a server that unseals itself: shares and threshold are
// those of its recovery key.
func (c *Client) InitRecovery(ctx context.Context, shares, threshold int) (*InitResult, error) {
	return send[InitResult](ctx, c, "PUT", "/v1/sys/init", map[string]int{"recovery_shares": shares, "recovery_threshold": threshold})
}

// Unseal gives one key share.
func (c *Client) Unseal(ctx context.Context, key string) (*SealStatus, error) {
	return send[SealStatus](ctx, c, "PUT", "/v1/sys/unseal", map[string]string{"key": key})
}

// Migrate gives one key share, or recovery key, of those who agree that the seal is
// turned into the one of the server's configuration.
func (c *Client) Migrate(ctx context.Context, key string) (*SealStatus, error) {
	return send[SealStatus](ctx, c, "PUT", "/v1/sys/unseal", map[string]any{"key": key, "migrate": true})
}

// Seal makes the server forget its keys.
func (c *Client) Seal(ctx context.Context) error {
	return c.Do(ctx, "PUT", "/v1/sys/seal", nil, nil)
}

// secretAnswer is the part of /v1's envelope that is looked at.
type secretAnswer struct {
	Data struct {
		Data     map[string]json.RawMessage `json:"data"`
		Metadata struct {
			Version int `json:"version"`
		} `json:"metadata"`
	} `json:"data"`
}

// Secret reads a KV version 2 secret: its fields, byte-exact, and its version.
func (c *Client) Secret(ctx context.Context, mount, path string) (fields map[string]json.RawMessage, version int, err error) {
	var a secretAnswer
	if err := c.Do(ctx, "GET", "/v1/"+escape(mount)+"/data/"+escape(path), nil, &a); err != nil {
		return nil, 0, err
	}
	return a.Data.Data, a.Data.Metadata.Version, nil
}

// PutSecret writes a KV version 2 secret and returns its new version.
func (c *Client) PutSecret(ctx context.Context, mount, path string, fields map[string]any) (int, error) {
	var a struct {
		Data struct {
			Version int `json:"version"`
		} `json:"data"`
	}
	err := c.Do(ctx, "POST", "/v1/"+escape(mount)+"/data/"+escape(path), map[string]any{"data": fields}, &a)
	return a.Data.Version, err
}

func escape(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for i, p := range parts {
		parts[i] = url.PathEscape(p)
	}
	return strings.Join(parts, "/")
}
