# Copyright The Goldkeep Authors
# SPDX-License-Identifier: Apache-2.0
#
# What the provider can manage of a secrets server that has no clouds around it.
# turn=2 changes something of everything that can be changed in place.

terraform {
  required_providers {
    vault = { source = "hashicorp/vault" }
  }
}

provider "vault" {}

variable "turn" { type = number }
variable "kubernetes_ca" { type = string }
variable "client_ca" { type = string }
variable "signing_key" { type = string }

locals {
  hour = 3600 * var.turn
}

# Mounts and secrets.

resource "vault_mount" "kv2" {
  path        = "tf/kv2"
  type        = "kv"
  description = "versioned"
  options     = { version = "2" }
}

resource "vault_mount" "kv1" {
  path                      = "tf/kv1-${var.turn}" # moved in place
  type                      = "kv"
  options                   = { version = "1" }
  default_lease_ttl_seconds = local.hour
  max_lease_ttl_seconds     = 4 * local.hour
}

resource "vault_mount" "transit" {
  path = "tf/transit"
  type = "transit"
}

resource "vault_generic_secret" "two" {
  path      = "${vault_mount.kv2.path}/app/db"
  data_json = jsonencode({ password = "p${var.turn}", port = "5432" })
}

resource "vault_generic_secret" "one" {
  path      = "${vault_mount.kv1.path}/app"
  data_json = jsonencode({ x = "${var.turn}" })
}

data "vault_generic_secret" "two" {
  path       = vault_generic_secret.two.path
  depends_on = [vault_generic_secret.two]
}

# Policies.

data "vault_policy_document" "app" {
  rule {
    path         = "tf/kv2/data/app/*"
    capabilities = var.turn == 1 ? ["read"] : ["read", "list"]
    description  = "the app's own"
    allowed_parameter {
      key   = "version"
      value = ["1", "2"]
    }
  }
  rule {
    path             = "tf/kv2/metadata/*"
    capabilities     = ["list"]
    min_wrapping_ttl = "1s"
    max_wrapping_ttl = "30s"
  }
}

resource "vault_policy" "app" {
  name   = "tf-app"
  policy = data.vault_policy_document.app.hcl
}

resource "vault_policy" "mixed" {
  name   = "TF-Mixed"
  policy = "path \"tf/kv1/*\" {\n  capabilities = [\"read\"]\n}\n"
}

# Tokens.

resource "vault_token_auth_backend_role" "ci" {
  role_name           = "tf-ci"
  allowed_policies    = [vault_policy.app.name]
  disallowed_policies = ["default"]
  orphan              = true
  renewable           = true
  period              = "${local.hour}"
  explicit_max_ttl    = "0"
  path_suffix         = "for-ci"
  bound_cidrs         = ["10.0.0.0/8"]
}

resource "vault_token" "ci" {
  role_name       = vault_token_auth_backend_role.ci.role_name
  policies        = [vault_policy.app.name]
  renew_min_lease = 60
  renew_increment = 3600
}

resource "vault_token" "wrapped" {
  policies     = [vault_policy.app.name]
  no_parent    = true
  ttl          = "1h"
  wrapping_ttl = "10m"
  num_uses     = 3
  renewable    = true
}

# Logins.

resource "vault_auth_backend" "approle" {
  type                      = "approle"
  path                      = "tf-approle"
  default_lease_ttl_seconds = 3600
  max_lease_ttl_seconds     = 7200
  listing_visibility        = "unauth"
}

resource "vault_approle_auth_backend_role" "app" {
  backend            = vault_auth_backend.approle.path
  role_name          = "app"
  policies           = [vault_policy.app.name]
  bind_secret_id     = true
  secret_id_num_uses = 10 * var.turn
  secret_id_ttl      = local.hour
  token_ttl          = local.hour
  token_max_ttl      = 2 * local.hour
  token_num_uses     = 0
  period             = local.hour # this provider cannot read a role without one
}

resource "vault_approle_auth_backend_role" "named" {
  backend        = vault_auth_backend.approle.path
  role_name      = "named"
  role_id        = "tf-role-${var.turn}"
  policies       = ["default"]
  bind_secret_id = true
  period         = local.hour
}

resource "vault_approle_auth_backend_role_secret_id" "app" {
  backend   = vault_auth_backend.approle.path
  role_name = vault_approle_auth_backend_role.app.role_name
  cidr_list = ["127.0.0.1/32"]
  metadata  = jsonencode({ by = "terraform" })
}

resource "vault_approle_auth_backend_login" "app" {
  backend   = vault_auth_backend.approle.path
  role_id   = vault_approle_auth_backend_role.app.role_id
  secret_id = vault_approle_auth_backend_role_secret_id.app.secret_id
}

data "vault_approle_auth_backend_role_id" "app" {
  backend    = vault_auth_backend.approle.path
  role_name  = vault_approle_auth_backend_role.app.role_name
  depends_on = [vault_approle_auth_backend_role.app]
}

resource "vault_auth_backend" "userpass" {
  type = "userpass"
  path = "tf-userpass"
}

resource "vault_generic_endpoint" "user" {
  path                 = "auth/tf-userpass/users/jo"
  ignore_absent_fields = true
  data_json            = jsonencode({ token_policies = [vault_policy.app.name], token_ttl = local.hour, password = "pw" })
  depends_on           = [vault_auth_backend.userpass]
}

resource "vault_generic_endpoint" "login" {
  path           = "auth/tf-userpass/login/jo"
  disable_read   = true
  disable_delete = true
  data_json      = jsonencode({ password = "pw" })
  write_fields   = ["num_uses"]
  depends_on     = [vault_generic_endpoint.user]
}

resource "vault_jwt_auth_backend" "jwt" {
  path                   = "tf-jwt"
  description            = "tokens of the CI"
  jwt_validation_pubkeys = [var.signing_key]
  bound_issuer           = "https://ci-${var.turn}.example.com"
  jwt_supported_algs     = ["ES256"]
  default_role           = "ci"
}

# The provider's own resource for this reads fields that Vault left out in 1.2.
resource "vault_generic_endpoint" "ci" {
  path                 = "auth/${vault_jwt_auth_backend.jwt.path}/role/ci"
  ignore_absent_fields = true
  data_json = jsonencode({
    role_type       = "jwt"
    bound_audiences = ["goldkeep"]
    bound_subject   = "repo:shop"
    bound_claims    = { branch = "main" }
    claim_mappings  = { repo = "repository" }
    user_claim      = "sub"
    groups_claim    = "teams"
    token_policies  = [vault_policy.app.name]
    token_ttl       = local.hour
    token_max_ttl   = 2 * local.hour
  })
}

resource "vault_auth_backend" "kubernetes" {
  type = "kubernetes"
  path = "tf-kubernetes"
}

resource "vault_kubernetes_auth_backend_config" "cluster" {
  backend            = vault_auth_backend.kubernetes.path
  kubernetes_host    = "https://10.0.0.${var.turn}:6443"
  kubernetes_ca_cert = var.kubernetes_ca
  token_reviewer_jwt = "eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl"
  pem_keys           = [var.signing_key]
}

resource "vault_kubernetes_auth_backend_role" "shop" {
  backend                          = vault_auth_backend.kubernetes.path
  role_name                        = "shop"
  bound_service_account_names      = ["shop", "cart"]
  bound_service_account_namespaces = ["apps"]
  policies                         = [vault_policy.app.name]
  ttl                              = local.hour
  max_ttl                          = 2 * local.hour
  bound_cidrs                      = ["10.0.0.0/8"]
}

data "vault_kubernetes_auth_backend_role" "shop" {
  backend    = vault_auth_backend.kubernetes.path
  role_name  = vault_kubernetes_auth_backend_role.shop.role_name
  depends_on = [vault_kubernetes_auth_backend_role.shop]
}

data "vault_kubernetes_auth_backend_config" "cluster" {
  backend    = vault_auth_backend.kubernetes.path
  depends_on = [vault_kubernetes_auth_backend_config.cluster]
}

resource "vault_auth_backend" "cert" {
  type = "cert"
  path = "tf-cert"
}

resource "vault_cert_auth_backend_role" "node" {
  backend              = vault_auth_backend.cert.path
  name                 = "node"
  certificate          = var.client_ca
  allowed_common_names = ["node-*"]
  allowed_dns_sans     = ["*.example.com"]
  policies             = [vault_policy.app.name]
  display_name         = "node"
  ttl                  = "${local.hour}"
  max_ttl              = "${2 * local.hour}"
}

# People and machines.

resource "vault_identity_entity" "jo" {
  name     = "tf-jo"
  policies = [vault_policy.app.name]
  metadata = { team = "shop-${var.turn}" }
}

resource "vault_identity_entity_alias" "jo" {
  name           = "jo"
  mount_accessor = vault_auth_backend.userpass.accessor
  canonical_id   = vault_identity_entity.jo.id
}

resource "vault_identity_group" "shop" {
  name              = "tf-shop"
  type              = "internal"
  member_entity_ids = [vault_identity_entity.jo.id]
  policies          = var.turn == 1 ? [vault_policy.app.name] : [vault_policy.app.name, "default"]
  metadata          = { cost = "7" }
}

resource "vault_identity_group" "outer" {
  name             = "tf-outer"
  type             = "internal"
  member_group_ids = [vault_identity_group.shop.id]
}

resource "vault_identity_group" "elsewhere" {
  name = "tf-elsewhere"
  type = "external"
}

resource "vault_identity_group_alias" "elsewhere" {
  name           = "shop-team"
  mount_accessor = vault_jwt_auth_backend.jwt.accessor
  canonical_id   = vault_identity_group.elsewhere.id
}

resource "vault_identity_group" "open" {
  name              = "tf-open"
  external_policies = true
}

resource "vault_identity_group_policies" "open" {
  group_id  = vault_identity_group.open.id
  exclusive = true
  policies  = var.turn == 1 ? ["default"] : ["default", vault_policy.app.name]
}

# What this provider has no resource of its own for.

resource "vault_generic_endpoint" "transit_key" {
  path                 = "${vault_mount.transit.path}/keys/app"
  ignore_absent_fields = true
  disable_delete       = true
  data_json            = jsonencode({ type = "aes256-gcm96" })
}

resource "vault_generic_endpoint" "transit_key_config" {
  path           = "${vault_mount.transit.path}/keys/app/config"
  disable_read   = true
  disable_delete = true
  data_json      = jsonencode({ min_decryption_version = 1, deletion_allowed = true })
  depends_on     = [vault_generic_endpoint.transit_key]
}

resource "vault_generic_endpoint" "oidc_key" {
  path                 = "identity/oidc/key/tf"
  ignore_absent_fields = true
  data_json            = jsonencode({ rotation_period = local.hour, verification_ttl = local.hour, algorithm = "ES256", allowed_client_ids = ["*"] })
}

resource "vault_generic_endpoint" "oidc_role" {
  path                 = "identity/oidc/role/tf"
  ignore_absent_fields = true
  data_json            = jsonencode({ key = "tf", ttl = local.hour })
  depends_on           = [vault_generic_endpoint.oidc_key]
}

resource "vault_generic_endpoint" "password_policy" {
  path                 = "sys/policies/password/tf"
  ignore_absent_fields = true
  data_json            = jsonencode({ policy = "length = ${19 + var.turn}\nrule \"charset\" {\n  charset = \"abcdefghij\"\n}\n" })
}

resource "vault_generic_endpoint" "quota" {
  path                 = "sys/quotas/rate-limit/tf"
  ignore_absent_fields = true
  data_json            = jsonencode({ rate = 1000 * var.turn, interval = 10, path = "tf/kv2/" })
  depends_on           = [vault_mount.kv2]
}

resource "vault_generic_endpoint" "header" {
  path         = "sys/config/auditing/request-headers/x-tf"
  disable_read = true
  data_json    = jsonencode({ hmac = true })
}

output "seen" {
  sensitive = true
  value = {
    secret   = data.vault_generic_secret.two.data
    role_id  = data.vault_approle_auth_backend_role_id.app.role_id == vault_approle_auth_backend_role.app.role_id
    accounts = data.vault_kubernetes_auth_backend_role.shop.bound_service_account_names
    host     = data.vault_kubernetes_auth_backend_config.cluster.kubernetes_host
    policies = vault_approle_auth_backend_login.app.policies
  }
}
