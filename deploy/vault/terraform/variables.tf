variable "postgres_address" {
  description = "Address of Postgres as Vault reaches it: the name in the server's certificate, and the port."
  type        = string
  validation {
    condition     = can(regex("^[A-Za-z0-9.-]+:[0-9]+$", var.postgres_address))
    error_message = "It must be NAME:PORT."
  }
}

variable "postgres_database" {
  type    = string
  default = "vctl"
}

variable "postgres_ca_path" {
  description = "File on the Vault server with the certificate of the CA that signed the certificate of Postgres; empty for the CAs that its system trusts."
  type        = string
  default     = ""
}

variable "postgres_password" {
  description = "First password of vctl_vault. It stays in the state: rotate it directly after the first apply."
  type        = string
  sensitive   = true
}

variable "lease_ttl_s" {
  description = "Lifetime of database logins, in seconds."
  type        = number
  default     = 3600
}

variable "lease_max_ttl_s" {
  type    = number
  default = 14400
}

variable "logins_per_person" {
  description = "Limit of database logins of one person at a time, all purposes together."
  type        = number
  default     = 16
}

variable "connections_per_person" {
  description = "Limit of connections of these logins; at least two for each login."
  type        = number
  default     = 64
}

variable "creds_rate" {
  description = "Limit of new database logins for one client address in a minute, per purpose."
  type        = number
  default     = 300
}

variable "ssh_allowed_users" {
  description = "Unix accounts that certificates may name."
  type        = list(string)
  default     = ["ubuntu", "rocky", "root"]
}

variable "scopes_file" {
  description = "Scope file: docs/rbac-scopes.md. Empty for no scopes."
  type        = string
  default     = ""
}

variable "secret_id_ttl_s" {
  description = "Lifetime of secret ids of the AppRoles of people and jobs, in seconds."
  type        = number
  default     = 2592000
}

variable "enable_gitlab_oidc" {
  description = "Configure single sign-on with GitLab. First do steps 1 and 2 of deploy/vault/oidc-phase2.md."
  type        = bool
  default     = false
}

variable "gitlab_url" {
  description = "Address of GitLab, as `issuer` in its .well-known/openid-configuration."
  type        = string
  default     = ""
}

variable "gitlab_ca_pem" {
  description = "Certificate of the CA that signed the certificate of GitLab; empty for the CAs that the system of the Vault server trusts."
  type        = string
  default     = ""
}

variable "gitlab_group" {
  description = "Full path of the GitLab group with the subgroups vctl-ssh-users, vctl-auditors, vctl-admins, and one for each scope."
  type        = string
  default     = ""
}

variable "gitlab_members_only" {
  description = "Refuse users who are in none of the subgroups. Otherwise every user with an account gets vctl-user."
  type        = bool
  default     = false
}

variable "vault_address" {
  description = "Address of Vault as browsers reach it, such as https://vault.example.net:8200, for the login to its own pages. Needed for single sign-on."
  type        = string
  default     = ""
}
