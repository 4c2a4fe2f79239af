# Keeps the inventory, the schema and the SSH CA. It cannot change policies, groups or database roles,
# so it cannot give itself more; whoever may enrol hosts can (vctl-enroll).

path "database/creds/vctl-ro" { capabilities = ["read"] }
path "database/creds/vctl-rw" { capabilities = ["read"] }
path "database/creds/vctl-audit-ro" { capabilities = ["read"] }
path "database/creds/vctl-pruner" { capabilities = ["read"] }
path "database/creds/vctl-migrator" { capabilities = ["read"] }
path "database/rotate-root/vctl" { capabilities = ["update"] }

# One CA takes over from the other, and each vouches for hosts.
path "ssh/config/ca" { capabilities = ["read", "update", "delete"] }
path "ssh-next/config/ca" { capabilities = ["read", "update", "delete"] }
path "ssh/roles/*" { capabilities = ["read"] }
path "ssh-next/roles/*" { capabilities = ["read"] }
path "ssh/sign/vctl-host" { capabilities = ["update"] }
path "ssh-next/sign/vctl-host" { capabilities = ["update"] }

# A lease can be given back by who knows its id; nobody may list them.
path "sys/leases/revoke/database/creds/vctl-ro/*" { capabilities = ["update"] }
path "sys/leases/revoke/database/creds/vctl-rw/*" { capabilities = ["update"] }
path "sys/leases/revoke/database/creds/vctl-audit-ro/*" { capabilities = ["update"] }
path "sys/leases/revoke/database/creds/vctl-pruner/*" { capabilities = ["update"] }
path "sys/leases/revoke/database/creds/vctl-migrator/*" { capabilities = ["update"] }
