# The Vault part of setup.sh, for a Vault that is managed with Terraform. See README.md in this directory.

terraform {
  required_version = ">= 1.3"
  required_providers {
    vault = {
      source  = "hashicorp/vault"
      version = ">= 4.0"
    }
  }
}

locals {
  files = "${path.module}/.."
  groups = [
    "vctl_ro", "vctl_rw", "vctl_identity", "vctl_audit_ro", "vctl_audit_writer",
    "vctl_audit_ingest", "vctl_status", "vctl_pruner", "vctl_session_end", "vctl_revoke",
    "vctl_stream_ingest",
  ]
  ca = var.postgres_ca_path == "" ? "" : "&sslrootcert=${var.postgres_ca_path}"
  # Policies of each external group. The identity provider defines the members.
  external_groups = merge({
    vctl-ssh-users = ["vctl-ssh"]
    vctl-auditors  = ["vctl-auditor"]
    vctl-admins    = ["vctl-admin", "vctl-ssh", "vctl-auditor"]
  }, { for name in keys(module.scopes.roles) : name => [name] })
  # A role of each scope at both mounts.
  scope_roles = merge([for mount in keys(vault_mount.ssh) : {
    for name, role in module.scopes.roles : "${mount}/${name}" => merge(role, { mount = mount, name = name })
  }]...)
}

# Scopes of grants: docs/rbac-scopes.md.
module "scopes" {
  source = "./scopes"
  file   = var.scopes_file
}

# Single sign-on with GitLab: oidc-phase2.md.
module "gitlab" {
  source        = "./gitlab"
  count         = var.enable_gitlab_oidc ? 1 : 0
  url           = var.gitlab_url
  ca_pem        = var.gitlab_ca_pem
  group         = var.gitlab_group
  names         = keys(local.external_groups)
  members_only  = var.gitlab_members_only
  vault_address = var.vault_address
}

# --- Mounts ---

# During a rotation one mount has the old CA and the other the new one.
resource "vault_mount" "ssh" {
  for_each                     = toset(["ssh", "ssh-next"])
  path                         = each.key
  type                         = "ssh"
  audit_non_hmac_request_keys  = ["valid_principals", "ttl"]
  audit_non_hmac_response_keys = ["serial_number"]
}

resource "vault_mount" "database" {
  path                         = "database"
  type                         = "database"
  audit_non_hmac_response_keys = ["username"]
}

resource "vault_auth_backend" "this" {
  for_each = toset(["userpass", "approle", "oidc"])
  type     = each.key
  path     = each.key
  # The methods are configured by other resources, or by hand: oidc-phase2.md.
  lifecycle {
    ignore_changes = [tune]
  }
}

# --- Database engine ---

resource "vault_database_secret_backend_connection" "vctl" {
  backend       = vault_mount.database.path
  name          = "vctl"
  allowed_roles = ["vctl-*"]

  postgresql {
    connection_url          = "postgresql://{{username}}:{{password}}@${var.postgres_address}/${var.postgres_database}?sslmode=verify-full${local.ca}"
    username                = "vctl_vault"
    password                = var.postgres_password
    username_template       = trimspace(file("${local.files}/username.tmpl"))
    password_authentication = "scram-sha-256"
    max_open_connections    = 8
  }

  lifecycle {
    # After the rotation the value in the state is no longer the password.
    ignore_changes = [postgresql[0].password]
  }
}

resource "vault_database_secret_backend_role" "group" {
  for_each              = toset(local.groups)
  backend               = vault_mount.database.path
  db_name               = vault_database_secret_backend_connection.vctl.name
  name                  = replace(each.key, "_", "-")
  creation_statements   = [replace(replace(replace(file("${local.files}/sql/create-login.sql"), "GROUP", each.key), "LOGINS", var.logins_per_person), "CONNECTIONS", var.connections_per_person)]
  revocation_statements = [file("${local.files}/sql/revoke-login.sql")]
  default_ttl           = var.lease_ttl_s
  max_ttl               = var.lease_max_ttl_s
}

resource "vault_database_secret_backend_role" "migrator" {
  backend               = vault_mount.database.path
  db_name               = vault_database_secret_backend_connection.vctl.name
  name                  = "vctl-migrator"
  creation_statements   = [file("${local.files}/sql/create-migrator.sql")]
  revocation_statements = [file("${local.files}/sql/revoke-login.sql")]
  default_ttl           = var.lease_ttl_s
  max_ttl               = var.lease_max_ttl_s
}

# A limit for each client address and purpose. Hosts have other paths and do not share it.
resource "vault_quota_rate_limit" "creds" {
  for_each = toset([for group in concat(local.groups, ["vctl_migrator"]) : replace(group, "_", "-")])
  name     = each.key
  path     = "${vault_mount.database.path}/creds/${each.key}"
  rate     = var.creds_rate
  interval = 60
}

# --- SSH CA ---

# The first CA. `vctl ca ssh-rotate` creates and removes CAs later: before its first run remove this resource from
# the state (`terraform state rm`) and from this file.
resource "vault_ssh_secret_backend_ca" "this" {
  backend              = vault_mount.ssh["ssh"].path
  generate_signing_key = true
  key_type             = "ed25519"
}

resource "vault_ssh_secret_backend_role" "sre_core" {
  for_each                = vault_mount.ssh
  backend                 = each.value.path
  name                    = "sre-core"
  key_type                = "ca"
  allow_user_certificates = true
  allowed_users           = join(",", var.ssh_allowed_users)
  ttl                     = "1800"
  max_ttl                 = "7200"
  key_id_format           = "{{token_display_name}}"
  allow_user_key_ids      = false
  allowed_extensions      = "permit-pty,permit-port-forwarding,permit-agent-forwarding"
  # An empty list allows every critical option, so the list has one that no client requests.
  allowed_critical_options = "none-allowed"
  # These keys have a fixed length.
  allowed_user_key_config {
    type    = "ed25519"
    lengths = [0]
  }
  # Vault adds these to every certificate that was requested without any.
  default_extensions = {}
}

# One role per scope and mount, with the same limits as sre-core.
resource "vault_ssh_secret_backend_role" "scope" {
  for_each                 = local.scope_roles
  backend                  = vault_mount.ssh[each.value.mount].path
  name                     = each.value.name
  key_type                 = "ca"
  allow_user_certificates  = true
  allowed_users            = each.value.allowed_users
  ttl                      = each.value.ttl
  max_ttl                  = each.value.max_ttl
  key_id_format            = "{{token_display_name}}"
  allow_user_key_ids       = false
  allowed_extensions       = "permit-pty,permit-port-forwarding,permit-agent-forwarding"
  allowed_critical_options = "none-allowed"
  allowed_user_key_config {
    type    = "ed25519"
    lengths = [0]
  }
  default_extensions = {}
}

# Signs host certificates for any name, so only vctl-admin may use it.
resource "vault_ssh_secret_backend_role" "host" {
  for_each                = vault_mount.ssh
  backend                 = each.value.path
  name                    = "vctl-host"
  key_type                = "ca"
  allow_host_certificates = true
  allow_user_certificates = false
  allowed_domains         = "*"
  allow_bare_domains      = true
  ttl                     = "7776000"
  max_ttl                 = "31622400"
  allow_user_key_ids      = true
}

# --- Policies, AppRoles, groups ---

resource "vault_policy" "this" {
  for_each = fileset("${local.files}/policies", "*.hcl")
  name     = trimsuffix(each.key, ".hcl")
  policy = replace(
    file("${local.files}/policies/${each.key}"),
    "APPROLE_ACCESSOR",
    vault_auth_backend.this["approle"].accessor,
  )
}

resource "vault_policy" "scope" {
  for_each = module.scopes.roles
  name     = each.key
  policy   = each.value.policy
}

resource "vault_approle_auth_backend_role" "this" {
  for_each       = toset(["vctl-user", "vctl-pruner", "vctl-enroll", "vctl-stream-ingest"])
  backend        = vault_auth_backend.this["approle"].path
  role_name      = each.key
  token_policies = [each.key]
  token_ttl      = 3600
  token_max_ttl  = 86400
  secret_id_ttl  = var.secret_id_ttl_s
}

resource "vault_identity_group" "this" {
  for_each = local.external_groups
  name     = each.key
  type     = "external"
  policies = each.value
}

resource "vault_identity_group_alias" "this" {
  for_each = local.external_groups
  # The provider's name of the group.
  name           = var.enable_gitlab_oidc ? module.gitlab[0].groups[each.key] : each.key
  mount_accessor = vault_auth_backend.this["oidc"].accessor
  canonical_id   = vault_identity_group.this[each.key].id
}

# --- Single sign-on with GitLab ---

# Id and secret of the application in GitLab. They are in the state too: protect it like the token of an administrator.
data "vault_kv_secret_v2" "gitlab" {
  count = var.enable_gitlab_oidc ? 1 : 0
  mount = "kv"
  name  = "services/vault-oidc-gitlab"
}

# The method itself is one of vault_auth_backend.this. A resource of its own would disable it first, and all logins
# and group aliases with it.
resource "vault_generic_endpoint" "gitlab_config" {
  count          = var.enable_gitlab_oidc ? 1 : 0
  path           = "auth/${vault_auth_backend.this["oidc"].path}/config"
  disable_delete = true
  # Vault does not return the secret.
  disable_read = true
  data_json = jsonencode(merge(module.gitlab[0].config, {
    oidc_client_id     = data.vault_kv_secret_v2.gitlab[0].data["client_id"]
    oidc_client_secret = data.vault_kv_secret_v2.gitlab[0].data["client_secret"]
  }))
}

resource "vault_generic_endpoint" "gitlab_role" {
  count = var.enable_gitlab_oidc ? 1 : 0
  # The role opens the login, and until then each alias must be a name that only the owners of the GitLab group give.
  depends_on = [vault_generic_endpoint.gitlab_config, vault_identity_group_alias.this]
  path       = "auth/${vault_auth_backend.this["oidc"].path}/role/vctl"
  # Vault returns the lifetimes in another form.
  disable_read = true
  data_json    = jsonencode(module.gitlab[0].role)
}
