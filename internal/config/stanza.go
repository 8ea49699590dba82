// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/hcl/ast"
)

// body finds the fields of a block, and the names in front of it: in JSON they
// are nested objects.
func body(item *ast.ObjectItem, names int) (labels []string, fields []*ast.ObjectItem, err error) {
	for i := 1; i < len(item.Keys); i++ {
		labels = append(labels, key(item, i))
	}
	object, ok := item.Val.(*ast.ObjectType)
	for ok && len(labels) < names && len(object.List.Items) == 1 {
		inner := object.List.Items[0]
		below, isObject := inner.Val.(*ast.ObjectType)
		if !isObject {
			break
		}
		for i := range inner.Keys {
			labels = append(labels, key(inner, i))
		}
		object = below
	}
	if !ok {
		return nil, nil, at(item, "%s must be a block", key(item, 0))
	}
	return labels, object.List.Items, nil
}

// stanza reads a block whose fields are plain values, with one name.
func stanza(item *ast.ObjectItem, names int) (Stanza, error) {
	labels, fields, err := body(item, names)
	if err != nil {
		return Stanza{}, err
	}
	if len(labels) != names {
		return Stanza{}, at(item, "%s needs a name, such as %s \"...\" { }", key(item, 0), key(item, 0))
	}
	s := Stanza{Type: labels[0], Options: map[string]string{}, Line: item.Pos().Line}
	for _, field := range fields {
		value, err := text(field)
		if err != nil {
			return s, err
		}
		s.Options[key(field, 0)] = value
	}
	return s, nil
}

// listenerIgnored are settings of a listener that are known and change nothing.
var listenerIgnored = []string{
	"cluster_address", "http_idle_timeout", "http_read_header_timeout", "http_read_timeout", "http_write_timeout", "max_request_duration",
	"tls_cipher_suites", "tls_prefer_server_cipher_suites", "telemetry", "profiling", "inflight_requests_logging",
	"custom_response_headers", "agent_api", "proxy_api", "tls_disable_client_certs", "max_request_json_memory", "max_request_json_strings", "max_request_size", "tls_max_version", "redact_version", "redact_addresses", "redact_cluster_name", "disable_replication_status_endpoints",
}

func (f *File) listener(item *ast.ObjectItem) error {
	labels, fields, err := body(item, 1)
	if err != nil {
		return err
	}
	if len(labels) != 1 || labels[0] != "tcp" {
		return at(item, "only a listener \"tcp\" is offered")
	}
	l := Listener{}
	for _, field := range fields {
		if name := key(field, 0); slices.Contains(listenerIgnored, name) {
			f.Ignored = append(f.Ignored, "listener."+name)
			continue
		}
		if err := l.set(field); err != nil {
			return err
		}
	}
	f.Listeners = append(f.Listeners, l)
	return nil
}

func (l *Listener) set(field *ast.ObjectItem) (err error) {
	name := key(field, 0)
	if strings.HasPrefix(name, "x_forwarded_for_") {
		return l.ForwardedFor.set(name, field)
	}
	switch name {
	case "address":
		l.Address, err = text(field)
	case "tls_cert_file":
		l.CertFile, err = text(field)
	case "tls_key_file":
		l.KeyFile, err = text(field)
	case "tls_client_ca_file":
		l.ClientCA, err = text(field)
	case "tls_min_version":
		if l.MinVersion, err = text(field); err == nil && l.MinVersion != "tls12" && l.MinVersion != "tls13" {
			err = at(field, "tls_min_version must be tls12 or tls13: older ones are not safe")
		}
	case "tls_disable":
		l.TLSDisable, err = boolean(field)
	case "tls_require_and_verify_client_cert":
		l.RequireClientCert, err = boolean(field)
	case "disable_unauthed_rekey_endpoints":
		l.UnauthedRekey, err = boolean(field)
		l.UnauthedRekey = !l.UnauthedRekey
	case "disable_unauthed_generate_root_endpoints":
		l.UnauthedRoot, err = boolean(field)
		l.UnauthedRoot = !l.UnauthedRoot
	default:
		return at(field, "a listener has no setting %q here", name).WithHint("known are address, tls_cert_file, tls_key_file, tls_client_ca_file, " +
			"tls_min_version, tls_disable, tls_require_and_verify_client_cert, x_forwarded_for_..., disable_unauthed_rekey_endpoints, disable_unauthed_generate_root_endpoints")
	}
	return err
}

func (x *ForwardedFor) set(name string, field *ast.ObjectItem) (err error) {
	switch name {
	case "x_forwarded_for_authorized_addrs":
		all, err := texts(field)
		if err != nil {
			return err
		}
		for _, addr := range all {
			if _, err := netip.ParsePrefix(addr); err == nil {
				x.Authorized = append(x.Authorized, addr)
				continue
			}
			ip, err := netip.ParseAddr(addr)
			if err != nil {
				return at(field, "%q is neither an address nor a network", addr)
			}
			x.Authorized = append(x.Authorized, netip.PrefixFrom(ip, ip.BitLen()).String())
		}
	case "x_forwarded_for_hop_skips":
		n, err := text(field)
		if err != nil {
			return err
		}
		if x.HopSkips, err = strconv.Atoi(n); err != nil || x.HopSkips < 0 || x.HopSkips > 100 {
			return at(field, "%s must be a number from 0 to 100", name)
		}
	case "x_forwarded_for_reject_not_present":
		x.RejectNotPresent, err = boolean(field)
	case "x_forwarded_for_reject_not_authorized":
		x.RejectNotAuthorized, err = boolean(field)
	case "x_forwarded_for_client_cert_header", "x_forwarded_for_client_cert_header_decoders":
		return at(field, "%s is not offered: certificates of clients are taken from their own connection", name)
	default:
		return at(field, "a listener has no setting %q", name)
	}
	return err
}

// texts is a list of texts, or one with commas.
func texts(field *ast.ObjectItem) (all []string, err error) {
	list, ok := field.Val.(*ast.ListType)
	if !ok {
		one, err := text(field)
		if err != nil {
			return nil, err
		}
		for _, part := range strings.Split(one, ",") {
			all = append(all, strings.TrimSpace(part))
		}
		return all, nil
	}
	for _, node := range list.List {
		one, err := literal(field, node)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// audit reads audit "type" "path" { description, options { } }.
func (f *File) audit(item *ast.ObjectItem) error {
	labels, fields, err := body(item, 2)
	if err != nil {
		return err
	}
	a := Audit{Options: map[string]string{}}
	if len(labels) > 0 {
		a.Type, a.Path = labels[0], labels[0]
	}
	if len(labels) > 1 {
		a.Path = labels[1]
	}
	for _, field := range fields {
		switch name := key(field, 0); name {
		case "type":
			a.Type, err = text(field)
		case "path":
			a.Path, err = text(field)
		case "description":
			a.Description, err = text(field)
		case "local":
			_, err = boolean(field)
		case "options":
			object, ok := field.Val.(*ast.ObjectType)
			if !ok {
				return at(field, "options must be a block")
			}
			for _, option := range object.List.Items {
				if a.Options[key(option, 0)], err = text(option); err != nil {
					return err
				}
			}
		default:
			err = at(field, "an audit device has no setting %q", name).WithHint("known are type, path, description, local, options")
		}
		if err != nil {
			return err
		}
	}
	a.Path = strings.Trim(a.Path, "/")
	if a.Type == "" {
		return at(item, "audit needs a type and a path: audit \"file\" \"to-file\" { options { ... } }")
	}
	f.Audit = append(f.Audit, a)
	return nil
}
