// Copyright The Goldkeep Authors
// SPDX-License-Identifier: Apache-2.0

package policy

// Names of the policies every server has.
const (
	RootName     = "root"              // may do everything; has no text and cannot be written
	DefaultName  = "default"           // on every token that does not refuse it; can be edited, not deleted
	NodeName     = "node"              // what an agent's token has
	WrappingName = "response-wrapping" // what a wrapping token has; internal
)

// DefaultText is the first text of the policy "default": what any token may do
// about itself.
const DefaultText = `# What every token may do about itself.
path "auth/token/lookup-self"       { capabilities = ["read"] }
path "auth/token/renew-self"        { capabilities = ["update"] }
path "auth/token/revoke-self"       { capabilities = ["update"] }
path "sys/capabilities-self"        { capabilities = ["update"] }
path "sys/internal/ui/resultant-acl" { capabilities = ["read"] }

# Who one is.
path "identity/entity/id/{{identity.entity.id}}"     { capabilities = ["read"] }
path "identity/entity/name/{{identity.entity.name}}" { capabilities = ["read"] }
path "identity/oidc/provider/+/authorize"            { capabilities = ["read", "update"] }

# Log in to the clients of OpenID Connect providers that one is assigned to.
path "identity/oidc/provider/+/authorize" { capabilities = ["read", "update"] }

# Leases: whoever knows the whole id may look at it and renew it.
path "sys/renew"                    { capabilities = ["update"] }
path "sys/leases/renew"             { capabilities = ["update"] }
path "sys/leases/lookup"            { capabilities = ["update"] }

# A token's own drawer, gone with the token.
path "cubbyhole/*"                  { capabilities = ["create", "read", "update", "delete", "list"] }

# Wrapping answers for somebody else.
path "sys/wrapping/wrap"            { capabilities = ["update"] }
path "sys/wrapping/lookup"          { capabilities = ["update"] }
path "sys/wrapping/unwrap"          { capabilities = ["update"] }

# Tools that touch nothing.
path "sys/tools/hash"               { capabilities = ["update"] }
path "sys/tools/hash/*"             { capabilities = ["update"] }
`

// NodeText is the policy "node" of agents: report images and instances, look
// after one's own token, and no secrets.
const NodeText = `# What the agent of a node may do: no secrets, only evidence about workloads.
path "api/v1/instances"       { capabilities = ["read", "update"] }
path "api/v1/instances/*"     { capabilities = ["read", "update", "delete"] }
path "api/v1/nodes/+/watch"   { capabilities = ["read"] }
path "api/v1/images"          { capabilities = ["update"] }
path "api/v1/images/*"        { capabilities = ["read"] }
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self"  { capabilities = ["update"] }
`

// WrappingText is the policy "response-wrapping": unwrap, once, and nothing else.
const WrappingText = `path "cubbyhole/response"   { capabilities = ["create", "read"] }
path "sys/wrapping/unwrap"  { capabilities = ["update"] }
`
