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

# Every enrolment of a host has a name of its own: listing finds those there are.
path "database/roles" { capabilities = ["list"] }
path "auth/approle/role" { capabilities = ["list"] }

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
# Vault takes the name of an AppRole in any case and a policy does not, so each case has its line.
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

# A lease can be given back by who knows its id; nobody may list them.
path "sys/leases/revoke/database/creds/vctl-ro/*" { capabilities = ["update"] }
path "sys/leases/revoke/database/creds/vctl-rw/*" { capabilities = ["update"] }
