# Drops what is older than it has to be kept. Reads nothing.

path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }

path "database/creds/vctl-pruner" { capabilities = ["read"] }

# A lease can be given back by who knows its id; nobody may list them.
path "sys/leases/revoke/database/creds/vctl-pruner/*" { capabilities = ["update"] }
