# May log in to hosts, and must say so in the access log.

path "ssh/sign/sre-core" { capabilities = ["update"] }
path "ssh/config/ca" { capabilities = ["read"] }

# Opens and closes one's own rows; reads none.
path "database/creds/vctl-audit-writer" { capabilities = ["read"] }

# Its own leases: an id cannot be guessed, and listing them is not granted.
path "sys/leases/renew" {
  capabilities       = ["update"]
  allowed_parameters = { "lease_id" = ["database/creds/vctl-*"], "increment" = [] }
}
path "sys/leases/revoke" {
  capabilities       = ["update"]
  allowed_parameters = { "lease_id" = ["database/creds/vctl-*"], "sync" = [] }
}
