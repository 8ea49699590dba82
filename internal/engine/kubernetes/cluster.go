// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/goldkeep/goldkeep/internal/barrier"
	"github.com/goldkeep/goldkeep/internal/engine"
	"github.com/goldkeep/goldkeep/internal/fault"
	"github.com/goldkeep/goldkeep/internal/fetch"
)

const configFields = "kubernetes_host kubernetes_ca_cert token_reviewer_jwt pem_keys:list issuer disable_iss_validation:bool disable_local_ca_jwt:bool"

// config is the cluster of a mount.
type config struct {
	Host      string   `json:"host"`         // as it was given
	CA        string   `json:"ca,omitempty"` // PEM; "": the pod's, or the system's
	Reviewer  string   `json:"reviewer,omitempty"`
	Keys      []string `json:"keys,omitempty"` // PEM: tokens must be signed with one, too
	Issuer    string   `json:"issuer,omitempty"`
	AnyIssuer bool     `json:"anyIssuer"`
	NoLocal   bool     `json:"noLocal,omitempty"`
}

// base is the address of the API server: "host", "host:port" or a URL.
func (c *config) base() string {
	if strings.Contains(c.Host, "://") {
		return strings.TrimSuffix(c.Host, "/")
	}
	return "https://" + c.Host
}

func (e *Engine) putConfig(ctx context.Context, req *engine.Request, _ engine.Vars) (*engine.Response, error) {
	f := engine.Read(req)
	c := &config{
		Host: f.Text("kubernetes_host"), CA: f.Text("kubernetes_ca_cert"), Reviewer: f.Text("token_reviewer_jwt"), Keys: f.List("pem_keys"),
		Issuer: f.Text("issuer"), AnyIssuer: f.Bool("disable_iss_validation", true), NoLocal: f.Bool("disable_local_ca_jwt", false),
	}
	switch {
	case f.Err() != nil:
		return nil, f.Err()
	case c.Host == "":
		return nil, fault.New(fault.Invalid, "no host provided")
	case c.NoLocal && c.CA == "":
		return nil, fault.New(fault.Invalid, "kubernetes_ca_cert must be given when disable_local_ca_jwt is true")
	}
	if err := fetch.CheckURL(c.base()); err != nil {
		return nil, err
	}
	for i, text := range c.Keys {
		c.Keys[i] = strings.TrimSpace(text)
		if _, err := engine.PublicKey(text); err != nil {
			return nil, err
		}
	}
	var warnings []string
	if _, err := fetch.NewClient(c.CA); err != nil {
		warnings = append(warnings, "nobody can log in: kubernetes_ca_cert holds no certificate (PEM)") // said, not refused: clients set it up in steps
	}
	if u, _ := url.Parse(c.base()); u.Scheme == "http" && !isLoopback(u.Hostname()) {
		warnings = append(warnings, "the API server is asked without TLS: anybody on the way can forge logins and read tokens")
	}
	err := e.Space.Update(ctx, func(w barrier.Writer) error {
		return w.Put(ctx, barrier.Entry{Path: "config", Value: engine.Stored(c)})
	})
	if err != nil || len(warnings) == 0 {
		return nil, err
	}
	return &engine.Response{Warnings: warnings}, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (e *Engine) showConfig(ctx context.Context, _ *engine.Request, _ engine.Vars) (*engine.Response, error) {
	c, err := engine.Look[config](ctx, e.Space, "config")
	if err != nil || c == nil {
		return nil, err
	}
	return &engine.Response{Data: map[string]any{
		"kubernetes_host": c.Host, "kubernetes_ca_cert": c.CA, "pem_keys": slices.Concat([]string{}, c.Keys), "issuer": c.Issuer,
		"disable_iss_validation": c.AnyIssuer, "disable_local_ca_jwt": c.NoLocal, "token_reviewer_jwt_set": c.Reviewer != "",
	}}, nil
}

// clients keeps the client of the authority last seen: the pod's rotates.
type clients struct {
	mu     sync.Mutex
	ca     string
	client *http.Client
}

func (l *clients) of(ca string) (*http.Client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client != nil && l.ca == ca {
		return l.client, nil
	}
	client, err := fetch.NewClient(ca)
	if err != nil {
		return nil, err
	}
	l.ca, l.client = ca, client
	return client, nil
}

// cluster is an API server to be asked.
type cluster struct {
	config *config
	client *http.Client
	bearer string // what we are known by there; "": the token in question itself
}

// cluster reads the configuration and what the pod has now.
func (e *Engine) cluster(ctx context.Context) (*cluster, error) {
	c, err := engine.Look[config](ctx, e.Space, "config")
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, fault.New(fault.Invalid, "could not load backend configuration").WithHint("write %sconfig first", e.Mount.Path)
	}
	ca, bearer := c.CA, c.Reviewer
	if !c.NoLocal && ca == "" {
		ca = e.ofPod("ca.crt")
	}
	if !c.NoLocal && bearer == "" {
		bearer = strings.TrimSpace(e.ofPod("token"))
	}
	client, err := e.last.of(ca)
	if err != nil {
		return nil, err
	}
	return &cluster{config: c, client: client, bearer: bearer}, nil
}

// maxPodFile bounds a pod's token and its authority, in bytes.
const maxPodFile = 1 << 20

// ofPod reads a file of the pod this server runs in, anew each time: they rotate.
// Where there is none it is "".
func (e *Engine) ofPod(name string) string {
	file, err := os.Open(filepath.Join(e.podDir, name))
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }()
	text, err := io.ReadAll(io.LimitReader(file, maxPodFile))
	if err != nil {
		return ""
	}
	return string(text)
}

// tokenReview is the question and the answer, as far as they matter here.
type tokenReview struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       struct {
		Token     string   `json:"token"`
		Audiences []string `json:"audiences,omitempty"`
	} `json:"spec"`
	Status struct {
		Authenticated bool     `json:"authenticated"`
		Audiences     []string `json:"audiences"`
		User          struct {
			Username string `json:"username"`
			UID      string `json:"uid"`
		} `json:"user"`
	} `json:"status,omitzero"`
}

// review asks the API server whose a token is. It must say the same as the token.
func (c *cluster) review(ctx context.Context, token string, says *account, audience string) (*account, error) {
	var q tokenReview
	q.APIVersion, q.Kind, q.Spec.Token, q.Spec.Audiences = "authentication.k8s.io/v1", "TokenReview", token, says.audiences
	if audience != "" {
		q.Spec.Audiences = []string{audience}
	}
	body, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	var a tokenReview
	if err := c.ask(ctx, question{http.MethodPost, "/apis/authentication.k8s.io/v1/tokenreviews", token, body}, &a); err != nil {
		return nil, err
	}
	who, found := strings.CutPrefix(a.Status.User.Username, "system:serviceaccount:")
	namespace, name, two := strings.Cut(who, ":")
	switch {
	case a.Kind != "TokenReview" || !a.Status.Authenticated:
		return nil, denied("the cluster does not know the token")
	case len(q.Spec.Audiences) > 0 && !slices.ContainsFunc(q.Spec.Audiences, func(s string) bool { return slices.Contains(a.Status.Audiences, s) }):
		return nil, denied("the token is for another audience")
	case !found || !two || name == "" || strings.Contains(name, ":"):
		return nil, denied("the token is no service account's")
	case namespace != says.Namespace || name != says.Name || a.Status.User.UID != says.UID || says.UID == "":
		return nil, denied("the cluster says otherwise than the token")
	}
	return &account{Namespace: namespace, Name: name, UID: a.Status.User.UID, Secret: says.Secret}, nil
}

// place checks the namespace of a reviewed account against the role: by its name,
// or else by its labels.
func (c *cluster) place(ctx context.Context, r *role, a *account, token string) error {
	if allows(r.Namespaces, a.Namespace) {
		return nil
	}
	if r.Selector == "" {
		return denied("namespace not authorized")
	}
	wanted, err := readSelector(r.Selector)
	if err != nil {
		return err
	}
	var namespace struct {
		Metadata struct {
			Labels map[string]string `json:"labels"`
		} `json:"metadata"`
	}
	if err := c.ask(ctx, question{http.MethodGet, "/api/v1/namespaces/" + url.PathEscape(a.Namespace), token, nil}, &namespace); err != nil {
		return err
	}
	for label, value := range wanted {
		if got, there := namespace.Metadata.Labels[label]; !there || got != value {
			return denied("namespace not authorized")
		}
	}
	return nil
}

// question is one request to the API server.
type question struct {
	verb, path, token string // token: in whose favour it is asked
	body              []byte
}

// ask sends one question. Who cannot be asked vouches for nobody.
func (c *cluster) ask(ctx context.Context, q question, to any) error {
	req, err := http.NewRequestWithContext(ctx, q.verb, c.config.base()+q.path, bytes.NewReader(q.body))
	if err != nil {
		return fault.New(fault.Invalid, "kubernetes_host is no address")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+cmp.Or(c.bearer, q.token))
	resp, err := c.client.Do(req)
	if err != nil {
		return denied("the cluster's API server cannot be asked")
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusOK, http.StatusCreated:
	case http.StatusUnauthorized, http.StatusForbidden:
		return denied("the cluster's API server does not let us ask")
	default:
		return denied("the cluster's API server did not answer the question")
	}
	if json.NewDecoder(resp.Body).Decode(to) != nil {
		return denied("the cluster's API server gave no answer that can be read")
	}
	return nil
}
