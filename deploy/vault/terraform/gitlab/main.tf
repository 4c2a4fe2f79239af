# The settings of auth/oidc for GitLab, as plain values: this module uses no provider.
#
# They equal those that the commands of ../../oidc-phase2.md write; a test compares both.

terraform {
  required_version = ">= 1.3"
}

variable "url" {
  description = "Address of GitLab, as `issuer` in its .well-known/openid-configuration."
  type        = string
}

variable "ca_pem" {
  description = "Certificate of the CA that signed the certificate of GitLab; empty for the CAs that the system of the Vault server trusts."
  type        = string
}

variable "group" {
  description = "Full path of the GitLab group with a subgroup for each of `names`."
  type        = string
}

variable "names" {
  description = "Names of the external groups in Vault: vctl-ssh-users, vctl-auditors, vctl-admins, and those of scopes."
  type        = set(string)
}

variable "members_only" {
  description = "Refuse users who are in none of the subgroups."
  type        = bool
}

variable "vault_address" {
  description = "Address of Vault as browsers reach it, for the login to Vault's own pages."
  type        = string
}

locals {
  # Every user of GitLab may create a top-level group with any free name, so no alias is a name without a parent group.
  groups = { for name in var.names : name => "${var.group}/${name}" }
  role   = jsondecode(file("${path.module}/../../oidc-role.json"))
}

# Without the id and the secret of the application.
output "config" {
  value = merge(
    { oidc_discovery_url = var.url, default_role = "vctl" },
    var.ca_pem == "" ? {} : { oidc_discovery_ca_pem = var.ca_pem },
  )
  precondition {
    condition     = can(regex("^https://[^/ ]+(/[^ ]*)?$", var.url))
    error_message = "The address of GitLab must begin with https://."
  }
}

output "role" {
  value = merge(
    local.role,
    { allowed_redirect_uris = concat(local.role.allowed_redirect_uris, ["${var.vault_address}/ui/vault/auth/oidc/oidc/callback"]) },
    var.members_only ? { bound_claims = { groups_direct = values(local.groups) } } : {},
  )
  precondition {
    condition     = can(regex("^https?://[^/ ]+$", var.vault_address))
    error_message = "The address of Vault must be https://NAME:PORT, without a path."
  }
}

# GitLab's name of each external group.
output "groups" {
  value = local.groups
  precondition {
    condition     = can(regex("^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$", var.group))
    error_message = "The group must be the full path of a GitLab group, such as infra/sre."
  }
}
