# For auditors: reads accesses, sessions and their events.

path "database/creds/vctl-audit-ro" { capabilities = ["read"] }

# A token can revoke a lease by its id. No policy may list lease ids.
path "sys/leases/revoke/database/creds/vctl-audit-ro/*" { capabilities = ["update"] }
