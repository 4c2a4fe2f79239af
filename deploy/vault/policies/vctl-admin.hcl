# Keeps the inventory, the schema and the SSH CA. It cannot change policies, groups or database roles,
# so it cannot give itself more; whoever may enrol hosts can (vctl-enroll).

path "database/creds/vctl-ro" { capabilities = ["read"] }
path "database/creds/vctl-rw" { capabilities = ["read"] }
path "database/creds/vctl-audit-ro" { capabilities = ["read"] }
path "database/creds/vctl-pruner" { capabilities = ["read"] }
path "database/creds/vctl-migrator" { capabilities = ["read"] }
path "database/rotate-root/vctl" { capabilities = ["update"] }
path "ssh/config/ca" { capabilities = ["read", "update"] }

# Its own leases: an id cannot be guessed, and listing them is not granted.
path "sys/leases/renew" {
  capabilities       = ["update"]
  allowed_parameters = { "lease_id" = ["database/creds/vctl-*"], "increment" = [] }
}
path "sys/leases/revoke" {
  capabilities       = ["update"]
  allowed_parameters = { "lease_id" = ["database/creds/vctl-*"], "sync" = [] }
}
