# Reads who asked to go where, and what was done there.

path "database/creds/vctl-audit-ro" { capabilities = ["read"] }

# Its own leases: an id cannot be guessed, and listing them is not granted.
path "sys/leases/renew" {
  capabilities       = ["update"]
  allowed_parameters = { "lease_id" = ["database/creds/vctl-*"], "increment" = [] }
}
path "sys/leases/revoke" {
  capabilities       = ["update"]
  allowed_parameters = { "lease_id" = ["database/creds/vctl-*"], "sync" = [] }
}
