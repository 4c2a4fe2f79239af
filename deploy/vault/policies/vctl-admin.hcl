# For administrators: manages the inventory, the schema and the SSH CA. It cannot change policies, groups or
# database roles, so it cannot give itself more rights. vctl-enroll can.

path "database/creds/vctl-ro" { capabilities = ["read"] }
path "database/creds/vctl-rw" { capabilities = ["read"] }
path "database/creds/vctl-audit-ro" { capabilities = ["read"] }
path "database/creds/vctl-pruner" { capabilities = ["read"] }
path "database/creds/vctl-session-end" { capabilities = ["read"] }
path "database/creds/vctl-revoke" { capabilities = ["read"] }
path "database/creds/vctl-migrator" { capabilities = ["read"] }
path "database/rotate-root/vctl" { capabilities = ["update"] }

# Rotation of the SSH CA between two mounts, and signing of host certificates.
path "ssh/config/ca" { capabilities = ["read", "update", "delete"] }
path "ssh-next/config/ca" { capabilities = ["read", "update", "delete"] }
path "ssh/roles/*" { capabilities = ["read"] }
path "ssh-next/roles/*" { capabilities = ["read"] }
path "ssh/sign/vctl-host" { capabilities = ["update"] }
path "ssh-next/sign/vctl-host" { capabilities = ["update"] }

# A token can revoke a lease by its id. No policy may list lease ids.
path "sys/leases/revoke/database/creds/vctl-ro/*" { capabilities = ["update"] }
path "sys/leases/revoke/database/creds/vctl-rw/*" { capabilities = ["update"] }
path "sys/leases/revoke/database/creds/vctl-audit-ro/*" { capabilities = ["update"] }
path "sys/leases/revoke/database/creds/vctl-pruner/*" { capabilities = ["update"] }
path "sys/leases/revoke/database/creds/vctl-session-end/*" { capabilities = ["update"] }
path "sys/leases/revoke/database/creds/vctl-revoke/*" { capabilities = ["update"] }
path "sys/leases/revoke/database/creds/vctl-migrator/*" { capabilities = ["update"] }
