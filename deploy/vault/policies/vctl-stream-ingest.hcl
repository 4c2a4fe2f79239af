# For `vctl-agent ingest`: stores what hosts published to JetStream, under the host that the NATS server stated. Reads no
# table.

path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }

# Warns before its secret id expires. Only an administrator creates the next one.
path "auth/approle/role/vctl-stream-ingest/secret-id/lookup" { capabilities = ["update"] }

path "database/creds/vctl-stream-ingest" { capabilities = ["read"] }

# A token can revoke a lease by its id. No policy may list lease ids.
path "sys/leases/revoke/database/creds/vctl-stream-ingest/*" { capabilities = ["update"] }
