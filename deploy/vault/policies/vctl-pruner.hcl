# For a job: deletes records whose retention period is over. Cannot read any.

path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }

path "database/creds/vctl-pruner" { capabilities = ["read"] }

# A token can revoke a lease by its id. No policy may list lease ids.
path "sys/leases/revoke/database/creds/vctl-pruner/*" { capabilities = ["update"] }
