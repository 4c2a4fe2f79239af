# Everybody: read the inventory, be seen, and get an AppRole for a machine of one's own.

path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }

path "database/creds/vctl-ro" { capabilities = ["read"] }
path "database/creds/vctl-identity" { capabilities = ["read"] }

# Its own leases: an id cannot be guessed, and listing them is not granted.
path "sys/leases/renew" {
  capabilities       = ["update"]
  allowed_parameters = { "lease_id" = ["database/creds/vctl-*"], "increment" = [] }
}
path "sys/leases/revoke" {
  capabilities       = ["update"]
  allowed_parameters = { "lease_id" = ["database/creds/vctl-*"], "sync" = [] }
}

# `vctl login --register`. Who logs in with it is `approle`, not a person.
path "auth/approle/role/vctl-user/role-id" { capabilities = ["read"] }
path "auth/approle/role/vctl-user/secret-id" { capabilities = ["update"] }
