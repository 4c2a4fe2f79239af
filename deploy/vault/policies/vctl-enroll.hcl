# Makes and unmakes the identity of hosts. For the platform team or its automation.
#
# It writes creation statements of database roles, so it can make any right in the database there is:
# give it to whom you would give the database.

path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }

# Is the host in the inventory; put it there with --create, and note that it is enrolled.
path "database/creds/vctl-ro" { capabilities = ["read"] }
path "database/creds/vctl-rw" { capabilities = ["read"] }

path "database/roles/vctl-audit-ingest-*" { capabilities = ["create", "read", "update", "delete"] }
path "database/roles/vctl-status-*" { capabilities = ["create", "read", "update", "delete"] }
path "sys/leases/revoke-prefix/database/creds/vctl-audit-ingest-*" { capabilities = ["update", "sudo"] }
path "sys/leases/revoke-prefix/database/creds/vctl-status-*" { capabilities = ["update", "sudo"] }

# AppRoles with the rights of a host and no others; those of people and jobs are out of reach.
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
# Wrapped or not at all: it can be unwrapped once, so a host that finds it used knows that it was seen.
path "auth/approle/role/+/secret-id" {
  capabilities     = ["update"]
  min_wrapping_ttl = "1m"
  max_wrapping_ttl = "72h"
}
path "auth/approle/role/vctl-*" { capabilities = ["deny"] }

# A lease can be given back by who knows its id; nobody may list them.
path "sys/leases/revoke/database/creds/vctl-ro/*" { capabilities = ["update"] }
path "sys/leases/revoke/database/creds/vctl-rw/*" { capabilities = ["update"] }
