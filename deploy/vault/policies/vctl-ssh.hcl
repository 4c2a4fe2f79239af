# May log in to hosts, and must say so in the access log.

path "ssh/sign/sre-core" { capabilities = ["update"] }
path "ssh/config/ca" { capabilities = ["read"] }
# Where the CA is that takes over, or took over: `vctl ca ssh-rotate`.
path "ssh-next/sign/sre-core" { capabilities = ["update"] }
path "ssh-next/config/ca" { capabilities = ["read"] }

# Opens and closes one's own rows and reads none; reads the inventory.
path "database/creds/vctl-audit-writer" { capabilities = ["read"] }

# A lease can be given back by who knows its id; nobody may list them.
path "sys/leases/revoke/database/creds/vctl-audit-writer/*" { capabilities = ["update"] }
