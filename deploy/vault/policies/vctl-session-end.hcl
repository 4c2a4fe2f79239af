# For an incident team: ends live sessions of hosts with `vctl session end`. Reads no table and no command: it sees id,
# host, account, person and times of sessions.

path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }

path "database/creds/vctl-session-end" { capabilities = ["read"] }

# A token can revoke a lease by its id. No policy may list lease ids.
path "sys/leases/revoke/database/creds/vctl-session-end/*" { capabilities = ["update"] }
