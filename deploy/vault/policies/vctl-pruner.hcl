# Drops what is older than it has to be kept. Reads nothing.

path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }

path "database/creds/vctl-pruner" { capabilities = ["read"] }

# Its own leases: an id cannot be guessed, and listing them is not granted.
path "sys/leases/renew" {
  capabilities       = ["update"]
  allowed_parameters = { "lease_id" = ["database/creds/vctl-*"], "increment" = [] }
}
path "sys/leases/revoke" {
  capabilities       = ["update"]
  allowed_parameters = { "lease_id" = ["database/creds/vctl-*"], "sync" = [] }
}
