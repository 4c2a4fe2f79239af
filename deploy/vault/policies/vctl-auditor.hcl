# Reads who asked to go where, and what was done there.

path "database/creds/vctl-audit-ro" { capabilities = ["read"] }

# A lease can be given back by who knows its id; nobody may list them.
path "sys/leases/revoke/database/creds/vctl-audit-ro/*" { capabilities = ["update"] }
