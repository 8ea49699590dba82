// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/goldkeep/goldkeep/internal/engine"
)

// TestConformSys holds the paths below sys/.
func TestConformSys(t *testing.T) {
	w := newWorld(t)
	w.ok("POST", "secret/data/a", w.root, `{"data":{}}`)
	w.ok("POST", "sys/mounts/db", w.root, `{"type":"issuer"}`)
	var lease struct {
		ID string `json:"lease_id"`
	}
	w.must(json.Unmarshal(w.ok("GET", "db/creds/app", w.root, ""), &lease))
	tokens := map[string]string{
		"reader": w.token(`path "secret/data/a" { capabilities = ["read"] }
path "sys/*" { capabilities = ["create", "read", "update", "delete", "list"] }`, ""),
	}
	const mountKeys = "{accessor,config,deprecation_status,description,external_entropy_access,local,options,plugin_version,running_plugin_version,running_sha256,seal_wrap,type,uuid}"
	conform(t, w, tokens, []row{
		// Seal.
		{does: "GET sys/init", token: "-", status: 200, shape: "bare initialized=true"},
		{does: "PUT sys/init", token: "-", body: `{"secret_shares":1,"secret_threshold":1,"recovery_shares":1}`, status: 400, has: "already initialized"},
		{does: "GET sys/seal-status", token: "-", status: 200, shape: "bare type=shamir initialized=true sealed=false t=2 n=3 progress=0 nonce:str version=" + engine.APIVersion + " goldkeep_version=0.9.1 build_date:time migration:bool recovery_seal=false storage_type:str cluster_name:str cluster_id:str"},
		{does: "PUT sys/unseal", token: "-", body: `{"Key":"00"}`, status: 200, shape: "bare sealed=false"},
		{does: "GET sys/health", token: "-", status: 200, shape: "bare initialized=true sealed=false standby=false server_time_utc:int version=" + engine.APIVersion + " goldkeep_version=0.9.1 cluster_name:str cluster_id:str"},
		{does: "GET sys/health?standbyok=true&perfstandbyok=true", token: "-", status: 200},
		{does: "HEAD sys/health", token: "-", status: 200, shape: "empty"},
		{does: "GET sys/leader", token: "-", status: 200, shape: "bare ha_enabled:bool is_self:bool active_time:time leader_address:str leader_cluster_address:str"},
		{does: "GET sys/ha-status", status: 200, shape: "flat data.nodes:list"},
		{does: "PUT sys/step-down", status: 204},
		{does: "PUT sys/step-down", token: "reader", status: 403},
		{does: "PUT sys/seal", token: "reader", status: 403},
		{does: "LIST sys/version-history", status: 200, shape: "data.keys:list data.key_info:map"},
		// Mounts.
		{does: "GET sys/mounts", status: 200, shape: "flat data.secret/" + mountKeys + " data.secret/.options.version:str data.sys/.type=system data.cubbyhole/.type=cubbyhole data.cubbyhole/.local=true data.sys/.seal_wrap=true !data.sys/.deprecation_status data.db/.options:map"},
		{does: "POST sys/mounts/full", body: `{"type":"kv","description":"d","config":{"default_lease_ttl":"","max_lease_ttl":"0s","force_no_cache":false,"listing_visibility":"unauth","audit_non_hmac_request_keys":["a"],"audit_non_hmac_response_keys":["b"],"passthrough_request_headers":["X-A"],"allowed_response_headers":["X-B"],"plugin_version":"","options":null},"options":null,"local":true,"seal_wrap":true,"external_entropy_access":false}`, status: 204},
		{does: "GET sys/mounts/full", status: 200, shape: "flat data" + mountKeys + " data.description=d data.local=true data.seal_wrap=true data.options:null data.config.default_lease_ttl=0 data.config.max_lease_ttl=0 data.config.force_no_cache=false data.config.listing_visibility=unauth data.config.audit_non_hmac_request_keys:list data.config.passthrough_request_headers:list data.config.allowed_response_headers:list"},
		{does: "POST sys/mounts/full", body: `{"type":"kv"}`, status: 400, has: "path is already in use at full/"},
		{does: "POST sys/mounts/x", body: `{"type":"nothing"}`, status: 400},
		{does: "POST sys/mounts/x", body: `{}`, status: 400},
		{does: "GET sys/mounts/none", status: 400, has: "No secret engine mount at none/"},
		{does: "GET sys/auth/none", status: 400, has: "No auth engine at none/"},
		{does: "GET sys/mounts/full/tune", status: 200, shape: "flat data.default_lease_ttl=2764800 data.max_lease_ttl=2764800 data.force_no_cache=false data.description=d data.listing_visibility=unauth"},
		{does: "POST sys/mounts/full/tune", body: `{"default_lease_ttl":"3600s","max_lease_ttl":"8600s","description":"e","audit_non_hmac_request_keys":[]}`, status: 204},
		{does: "POST sys/mounts/full/tune", body: `{"user_lockout_config":{"lockout_threshold":"3"}}`, status: 400, has: `tuning of user lockout configuration for auth type \"kv\" not allowed`},
		{does: "GET sys/mounts/full/tune", status: 200, shape: "data.default_lease_ttl=3600 data.max_lease_ttl=8600 data.description=e data.listing_visibility=unauth !data.audit_non_hmac_request_keys"},
		{does: "POST sys/mounts/full/tune", body: `{"default_lease_ttl":"","max_lease_ttl":"8700s"}`, status: 204},
		{does: "GET sys/mounts/full/tune", status: 200, shape: "data.default_lease_ttl=3600 data.max_lease_ttl=8700"},
		{does: "POST sys/mounts/full/tune", body: `{"default_lease_ttl":"9600s"}`, status: 400},
		{does: "POST sys/mounts/full/tune", body: `{"options":{"version":"2"}}`, status: 204},
		{does: "GET sys/mounts/full", status: 200, shape: "data.options.version=2"},
		{does: "POST sys/mounts/full/tune", body: `{"options":{"version":"1"}}`, status: 400},
		{does: "POST sys/mounts/none/tune", body: `{}`, status: 400},
		{does: "POST sys/remount", body: `{"from":"full","to":"moved"}`, status: 200, shape: "flat data.migration_id:str"},
		{does: "POST sys/remount", body: `{"from":"moved","to":"auth/moved"}`, status: 400},
		{does: "POST sys/remount", body: `{"from":"none","to":"there"}`, status: 400},
		{does: "POST sys/remount", body: `{"from":"moved","to":"../there"}`, status: 400},
		{does: "POST sys/remount", body: `{"from":"moved","to":"there//else"}`, status: 400},
		{does: "POST sys/remount", body: `{"from":"moved","to":"\n"}`, status: 400},
		{does: "POST sys/remount", token: "reader", body: `{"from":"moved","to":"full"}`, status: 403},
		{does: "GET sys/mounts/moved", status: 200},
		{does: "DELETE sys/mounts/moved", status: 204},
		{does: "DELETE sys/mounts/sys", status: 400},
		{does: "GET sys/auth", status: 200, shape: "flat !data.token/.deprecation_status data.token/.config.token_type=default-service"},
		{does: "POST sys/auth/up", body: `{"type":"userpass","config":{"token_type":"default-service","max_lease_ttl":""},"options":{}}`, status: 204},
		{does: "POST sys/mounts/auth/up/tune", body: `{"max_lease_ttl":"1h","listing_visibility":"unauth"}`, status: 204},
		{does: "GET sys/auth/up/tune", status: 200, shape: "data.max_lease_ttl=3600 data.token_type=default-service"},
		{does: "GET sys/mounts/auth/up/tune", status: 200, shape: "data.max_lease_ttl=3600"},
		{does: "GET sys/auth/up", status: 200, shape: "data.type=userpass"},
		{does: "POST sys/auth/up/tune", body: `{"user_lockout_config":{"lockout_threshold":"3","lockout_duration":"10m"}}`, status: 204},
		{does: "GET sys/auth/up/tune", status: 200, shape: "data.user_lockout_threshold=3 data.user_lockout_duration=600 data.user_lockout_disable=false data.user_lockout_counter_reset_duration=0"},
		{does: "GET sys/auth/up", status: 200, shape: "data.config.user_lockout_config.user_lockout_threshold=3"},
		{does: "GET sys/auth", token: "reader", status: 200},
		{does: "DELETE sys/auth/token", status: 400},
		{does: "DELETE sys/mounts/auth/up", status: 400, has: `cannot unmount \"auth/up/\"`},
		{does: "POST sys/capabilities-self", body: `{"paths":[` + strings.Repeat(`"",`, 10_000) + `""]}`, status: 400, has: "at most 10000"},
		{does: "POST secret/data/wide", body: "{" + strings.TrimSuffix(strings.Repeat(`"":0,`, 10_001), ",") + "}", status: 400, has: "10000 fields"},
		{does: "GET sys/internal/ui/mounts", token: "-", status: 200, shape: "data.auth.up/{description,options,type} data.secret:map !data.secret.secret/"},
		{does: "GET sys/internal/ui/mounts/secret/deep/path", token: "reader", status: 200, shape: "data.path=secret/ data.type=kv data.options.version=2"},
		{does: "GET sys/internal/ui/mounts/none/x", token: "reader", status: 403, has: "preflight capability check"},
		{does: "GET sys/internal/ui/mounts/secret/x", token: "-", status: 403, has: `["permission denied"]`},
		{does: "GET sys/internal/ui/resultant-acl", status: 200, shape: "data{root} data.root=true"},
		{does: "GET sys/internal/ui/resultant-acl", token: "reader", status: 200, has: `"cubbyhole/":{"capabilities":["create","delete","list","read","update"]}`},
		{does: "GET sys/internal/ui/resultant-acl", token: "reader", status: 200, has: `"auth/token/lookup-self":{"capabilities":["read"]}`},
		{does: "DELETE sys/auth/up", status: 204},
		// Policies.
		{does: "PUT sys/policies/acl/Mixed", body: `{"policy":"path \"x\" {}"}`, status: 200, shape: "warn"},
		{does: "GET sys/policies/acl/mixed", status: 200, shape: "data{name,policy} data.name=mixed"},
		{does: "PUT sys/policies/acl/b64", body: `{"policy":"cGF0aCAieCIge30="}`, status: 204},
		{does: "GET sys/policies/acl/b64", status: 200, has: `path \"x\" {}`},
		{does: "LIST sys/policies/acl", status: 200, shape: "data.keys:list"},
		{does: "GET sys/policies/acl/none", status: 404},
		{does: "PUT sys/policies/acl/root", body: `{"policy":"path \"x\" {}"}`, status: 400},
		{does: "PUT sys/policies/acl/empty", body: `{}`, status: 400},
		{does: "DELETE sys/policies/acl/default", status: 400},
		{does: "DELETE sys/policies/acl/none", status: 204},
		{does: "GET sys/policy", status: 200, shape: "flat data.keys:list data.policies:list"},
		{does: "LIST sys/policy", status: 200, shape: "flat data.keys:list data.policies:list"},
		{does: "PUT sys/policy/old", body: `{"rules":"path \"x\" { policy = \"write\" }"}`, status: 200, has: "'rules' is deprecated"},
		{does: "GET sys/policy/old", status: 200, shape: "flat data{name,rules}"},
		{does: "DELETE sys/policy/old", status: 204},
		{does: "LIST sys/policies/password", status: 404},
		{does: "PUT sys/policies/password/p", body: `{"policy":"length = 20\nrule \"charset\" { charset = \"abc\" min-chars = 1 }"}`, status: 204},
		{does: "GET sys/policies/password/p", status: 200, shape: "data{policy}"},
		{does: "LIST sys/policies/password", status: 200, shape: `data.keys=["p"]`},
		{does: "GET sys/policies/password/p/generate", status: 200, shape: "data{password}"},
		{does: "GET sys/policies/password/none/generate", status: 404},
		{does: "PUT sys/policies/password/p", body: `{"policy":"length = 2"}`, status: 400},
		{does: "DELETE sys/policies/password/p", status: 204},
		{does: "GET sys/policies/password/p", status: 404},
		// Leases.
		{does: "PUT sys/leases/lookup", body: `{"lease_id":"` + lease.ID + `"}`, status: 200, shape: "data{expire_time,id,issue_time,last_renewal,renewable,ttl} data.issue_time:time data.expire_time:time data.last_renewal:null data.ttl:int"},
		{does: "PUT sys/leases/lookup", body: `{"lease_id":"db/creds/app/none"}`, status: 400},
		{does: "PUT sys/leases/lookup", body: `{}`, status: 400},
		{does: "LIST sys/leases/lookup/db/creds", status: 200, shape: `data.keys=["app/"]`},
		{does: "LIST sys/leases/lookup/db/creds", token: "reader", status: 403},
		{does: "LIST sys/leases/lookup/none", status: 404},
		{does: "PUT sys/leases/renew", body: `{"lease_id":"` + lease.ID + `","increment":1800}`, status: 200, shape: "envelope lease_id=" + lease.ID + " lease_duration=1800 renewable=true data:null"},
		{does: "PUT sys/leases/renew/" + lease.ID, body: `{"increment":"30m"}`, status: 200, shape: "lease_duration=1800"},
		{does: "PUT sys/renew/" + lease.ID, status: 200},
		{does: "PUT sys/leases/renew", body: `{"lease_id":"none"}`, status: 400},
		{does: "GET sys/leases/count", status: 200, shape: "data.lease_count=1"},
		{does: "GET sys/leases/count?type=irrevocable", status: 200, shape: "data.lease_count=0"},
		{does: "GET sys/leases?type=irrevocable", status: 200, shape: "data.lease_count=0 data.leases:list"},
		{does: "POST sys/leases/tidy", status: 202, shape: "warn"},
		{does: "PUT sys/leases/revoke", body: `{"lease_id":"none"}`, status: 204},
		{does: "PUT sys/leases/revoke/" + lease.ID, body: `{"sync":false}`, status: 202},
		{does: "PUT sys/revoke/" + lease.ID, status: 204},
		{does: "PUT sys/leases/revoke-prefix/db", status: 204},
		{does: "PUT sys/leases/revoke-force/db", status: 204},
		{does: "PUT sys/leases/revoke-prefix/db", token: "reader", status: 403},
		// Wrapping, capabilities, tools.
		{does: "POST sys/wrapping/wrap", body: `{"a":1}`, status: 400},
		{does: "POST sys/wrapping/wrap", body: `{"a":1}`, header: []string{"X-Vault-Wrap-TTL", "60"}, status: 200, shape: "data:null wrap_info.creation_path=sys/wrapping/wrap"},
		{does: "POST sys/wrapping/unwrap", body: `{"token":"none"}`, status: 400, has: "wrapping token is not valid or does not exist"},
		{does: "POST sys/wrapping/lookup", token: "-", body: `{"token":"none"}`, status: 400},
		{does: "POST sys/capabilities-self", body: `{"path":"secret/data/a"}`, token: "reader", status: 200, shape: `flat data.capabilities=["read"] data.secret/data/a=["read"]`},
		{does: "POST sys/capabilities-self", body: `{"paths":["a","b"]}`, token: "reader", status: 200, shape: `flat data{a,b} data.a=["deny"]`},
		{does: "POST sys/capabilities-self", body: `{"path":"secret/data/a"}`, status: 200, shape: `data.capabilities=["root"]`},
		{does: "POST sys/capabilities", body: `{"token":"none","path":"a"}`, status: 400},
		{does: "POST sys/tools/random/8", body: `{"format":"hex"}`, status: 200, shape: "data.random_bytes:str"},
		{does: "POST sys/tools/hash/sha2-512", body: `{"input":"YQ=="}`, status: 200, shape: "data.sum:str"},
		// Settings.
		{does: "GET sys/config/cors", status: 200, shape: "flat data.enabled=false"},
		{does: "PUT sys/config/cors", body: `{"allowed_origins":["http://a.example"],"allowed_headers":["X-A"]}`, status: 204},
		{does: "PUT sys/config/cors", body: `{"allowed_origins":[]}`, status: 400},
		{does: "GET sys/config/cors", status: 200, shape: `flat data.enabled=true data.allowed_origins=["http://a.example"] data.allowed_headers:list`},
		{does: "DELETE sys/config/cors", status: 204},
		{does: "GET sys/config/cors", token: "reader", status: 403},
		{does: "LIST sys/config/ui/headers", status: 404},
		{does: "PUT sys/config/ui/headers/X-Frame", body: `{"values":["a","b"]}`, status: 204},
		{does: "GET sys/config/ui/headers/x-frame", status: 200, shape: "data.value=a"},
		{does: "LIST sys/config/ui/headers", status: 200, shape: `data.keys=["X-Frame"]`},
		{does: "DELETE sys/config/ui/headers/X-Frame", status: 204},
		{does: "PUT sys/config/auditing/request-headers/X-Id", body: `{"hmac":true}`, status: 204},
		{does: "GET sys/config/auditing/request-headers/X-Id", status: 200, shape: "data.X-Id.hmac=true"},
		{does: "GET sys/config/auditing/request-headers", status: 200, shape: "data.headers.x-id.hmac=true"},
		{does: "DELETE sys/config/auditing/request-headers/X-Id", status: 204},
		{does: "GET sys/config/auditing/request-headers/X-Id", status: 400},
		{does: "GET sys/config/state/sanitized", status: 200, shape: "data.storage.type:str data.default_lease_ttl:int data.listeners:list"},
		// Quotas.
		{does: "LIST sys/quotas/rate-limit", status: 404},
		{does: "POST sys/quotas/rate-limit/q", body: `{"rate":100,"path":"secret/*","interval":"600","block_interval":"600"}`, status: 204},
		{does: "GET sys/quotas/rate-limit/q", status: 200, shape: "data{block_interval,interval,name,path,rate,role,type} data.rate=100 data.path=secret/* data.interval=600 data.block_interval=600 data.type=rate-limit"},
		{does: "POST sys/quotas/rate-limit/bad", body: `{"rate":101,"path":"/not-exist"}`, status: 400},
		{does: "POST sys/quotas/rate-limit/bad", body: `{}`, status: 400},
		{does: "LIST sys/quotas/rate-limit", status: 200, shape: `data.keys=["q"]`},
		{does: "DELETE sys/quotas/rate-limit/q", status: 204},
		{does: "GET sys/quotas/rate-limit/q", status: 404},
		{does: "GET sys/quotas/config", status: 200, shape: "data.rate_limit_exempt_paths:list data.enable_rate_limit_audit_logging=false data.enable_rate_limit_response_headers=false"},
		{does: "POST sys/quotas/config", body: `{"enable_rate_limit_response_headers":true}`, status: 204},
		// Namespaces.
		{does: "LIST sys/namespaces", status: 404},
		{does: "PUT sys/namespaces/team", body: `{"custom_metadata":{"owner":"ann"}}`, status: 200, shape: "data.id:str data.uuid:str data.path=team/ data.tainted=false data.locked=false data.custom_metadata.owner=ann"},
		{does: "PATCH sys/namespaces/team", body: `{"custom_metadata":{"owner":null,"mail":"x"}}`, header: []string{"Content-Type", "application/merge-patch+json"}, status: 200, shape: "data.custom_metadata{mail}"},
		{does: "PATCH sys/namespaces/none", body: `{"custom_metadata":{"a":"b"}}`, header: []string{"Content-Type", "application/merge-patch+json"}, status: 404},
		{does: "PUT sys/namespaces/blue", header: []string{"X-Vault-Namespace", "team"}, status: 200, shape: "data.path=team/blue/ data.custom_metadata:map"},
		{does: "LIST sys/namespaces", status: 200, shape: "data.keys:list data.key_info.team/.path=team/"},
		{does: "GET sys/namespaces/team", status: 200, shape: "data.path=team/"},
		{does: "GET sys/mounts", header: []string{"X-Vault-Namespace", "team"}, status: 200, shape: "data{cubbyhole/,identity/,sys/}", has: `"cubbyhole/"`},
		{does: "GET team/sys/seal-status", status: 400, has: "operation only available in root namespace"},
		{does: "DELETE sys/namespaces/team", status: 400, has: "containing child namespaces"},
		{does: "DELETE sys/namespaces/none", status: 200, has: "requested namespace does not exist"},
		{does: "DELETE sys/namespaces/blue", header: []string{"X-Vault-Namespace", "team"}, status: 200, shape: "data.status=in-progress"},
		{does: "GET sys/mounts", header: []string{"X-Vault-Namespace", "team/blue"}, status: 404},
		// What there is.
		{does: "GET sys/plugins/catalog", status: 200, shape: "data.auth:list data.secret:list data.database:list data.detailed:list"},
		{does: "LIST sys/plugins/catalog/secret", status: 200, shape: "data.keys:list"},
		{does: "GET sys/plugins/catalog/secret/kv", status: 200, shape: "data.builtin=true data.name=kv"},
		{does: "GET sys/plugins/catalog/secret/none", status: 404},
		{does: "PUT sys/plugins/catalog/secret/none", body: `{"sha256":"x","command":"y"}`, status: 400},
		{does: "PUT sys/plugins/reload/backend", body: `{"plugin":"kv"}`, status: 200, shape: "data.reload_id:str"},
		{does: "GET sys/internal/specs/openapi", status: 200, shape: "bare openapi=3.0.2 info:map paths./sys/mounts:map components:map", has: `"/secret/data/{path}":{`},
		{does: "GET sys/internal/specs/openapi", token: "-", status: 403},
		{does: "GET sys/host-info", status: 200, shape: "data.timestamp:time data.host.hostname:str data.memory.total:int"},
		{does: "GET sys/locked-users", status: 200, shape: "data.total=0 data.by_namespace:list"},
		{does: "POST sys/locked-users/none/unlock/x", status: 400},
		{does: "GET sys/none", status: 404, has: "unsupported path"},
		{does: "GET sys/metrics?format=json", status: 400},
	})
	status, header, answer := w.send("GET", "sys/metrics?format=prometheus", w.root, "")
	if status != 200 || !strings.HasPrefix(header.Get("Content-Type"), "text/plain") || string(answer) != "goldkeep_sealed 0\n" {
		t.Errorf("metrics: %d %v %s", status, header, answer)
	}
}

// TestConformRemount follows a remount as clients do.
func TestConformRemount(t *testing.T) {
	w := newWorld(t)
	var moved struct {
		ID string `json:"migration_id"`
	}
	w.must(json.Unmarshal(w.ok("POST", "sys/remount", w.root, `{"from":"secret/","to":"there/"}`), &moved))
	conform(t, w, nil, []row{
		{does: "GET sys/remount/status/" + moved.ID, status: 200, shape: "data.migration_id=" + moved.ID + " data.migration_info{source_mount,status,target_mount} data.migration_info.status=success data.migration_info.source_mount=secret/"},
		{does: "GET sys/remount/status/none", status: 404},
	})
}

// TestConformQuota asks more often than a quota allows.
func TestConformQuota(t *testing.T) {
	w := newWorld(t)
	w.ok("POST", "sys/quotas/rate-limit/q", w.root, `{"rate":2,"path":"secret","interval":"1h"}`)
	conform(t, w, nil, []row{
		{does: "GET sys/quotas/rate-limit/q", status: 200, shape: "data.path=secret/"},
		{does: "LIST secret/metadata", status: 404},
		{does: "GET secret/data/a", token: "-", status: 403},
		{does: "GET secret/data/a", status: 429, has: "rate limit quota exceeded"},
		{does: "GET secret/data/b", token: "-", status: 429},
		{does: "GET sys/mounts", status: 200},
		{does: "DELETE sys/quotas/rate-limit/q", status: 204},
		{does: "LIST secret/metadata", status: 404},
	})
}
