# For the platform team or its automation: creates and revokes the identity of hosts.
#
# It writes creation statements of database roles, so it can get every right in the database: give it only to
# administrators of the database.

path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }

# Checks that the host is in the inventory, adds it with --create, and records the enrolment.
path "database/creds/vctl-ro" { capabilities = ["read"] }
path "database/creds/vctl-rw" { capabilities = ["read"] }

# Every enrolment of a host has its own name, so vctl lists the existing ones.
path "database/roles" { capabilities = ["list"] }
path "auth/approle/role" { capabilities = ["list"] }

path "database/roles/vctl-audit-ingest-*" { capabilities = ["create", "read", "update", "delete"] }
path "database/roles/vctl-status-*" { capabilities = ["create", "read", "update", "delete"] }
path "sys/leases/revoke-prefix/database/creds/vctl-audit-ingest-*" { capabilities = ["update", "sudo"] }
path "sys/leases/revoke-prefix/database/creds/vctl-status-*" { capabilities = ["update", "sudo"] }

# Only AppRoles with the rights of a host; the lines with `deny` exclude those of people and jobs.
path "auth/approle/role/+" {
  capabilities = ["create", "read", "update", "delete"]
  allowed_parameters = {
    "token_policies"        = [["vctl-host"], ["vctl-node"], ["vctl-collector"]]
    "token_ttl"             = []
    "token_max_ttl"         = []
    "token_bound_cidrs"     = []
    "secret_id_ttl"         = []
    "secret_id_bound_cidrs" = []
  }
}
path "auth/approle/role/+/role-id" { capabilities = ["read"] }
# Only wrapped secret ids: each can be unwrapped once, so a host detects that another client unwrapped it.
path "auth/approle/role/+/secret-id" {
  capabilities     = ["update"]
  min_wrapping_ttl = "1m"
  max_wrapping_ttl = "72h"
}
# Vault accepts the name of an AppRole in any case, but a policy compares case, so each spelling has its line.
path "auth/approle/role/vctl-*" { capabilities = ["deny"] }
path "auth/approle/role/vctL-*" { capabilities = ["deny"] }
path "auth/approle/role/vcTl-*" { capabilities = ["deny"] }
path "auth/approle/role/vcTL-*" { capabilities = ["deny"] }
path "auth/approle/role/vCtl-*" { capabilities = ["deny"] }
path "auth/approle/role/vCtL-*" { capabilities = ["deny"] }
path "auth/approle/role/vCTl-*" { capabilities = ["deny"] }
path "auth/approle/role/vCTL-*" { capabilities = ["deny"] }
path "auth/approle/role/Vctl-*" { capabilities = ["deny"] }
path "auth/approle/role/VctL-*" { capabilities = ["deny"] }
path "auth/approle/role/VcTl-*" { capabilities = ["deny"] }
path "auth/approle/role/VcTL-*" { capabilities = ["deny"] }
path "auth/approle/role/VCtl-*" { capabilities = ["deny"] }
path "auth/approle/role/VCtL-*" { capabilities = ["deny"] }
path "auth/approle/role/VCTl-*" { capabilities = ["deny"] }
path "auth/approle/role/VCTL-*" { capabilities = ["deny"] }

# A token can revoke a lease by its id. No policy may list lease ids.
path "sys/leases/revoke/database/creds/vctl-ro/*" { capabilities = ["update"] }
path "sys/leases/revoke/database/creds/vctl-rw/*" { capabilities = ["update"] }
