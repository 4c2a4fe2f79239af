# Everybody: read the inventory, be seen, and get an AppRole for a machine of one's own.

path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }

# `vctl whoami`: one's own identity, and the groups of setup.sh that it is in. A path of another group does not exist.
path "identity/entity/id/{{identity.entity.id}}" { capabilities = ["read"] }
path "identity/group/id/{{identity.groups.names.vctl-ssh-users.id}}" { capabilities = ["read"] }
path "identity/group/id/{{identity.groups.names.vctl-auditors.id}}" { capabilities = ["read"] }
path "identity/group/id/{{identity.groups.names.vctl-admins.id}}" { capabilities = ["read"] }

path "database/creds/vctl-ro" { capabilities = ["read"] }
path "database/creds/vctl-identity" { capabilities = ["read"] }

# A lease can be given back by who knows its id; nobody may list them.
path "sys/leases/revoke/database/creds/vctl-ro/*" { capabilities = ["update"] }
path "sys/leases/revoke/database/creds/vctl-identity/*" { capabilities = ["update"] }

# `vctl login --register`. Who logs in with it is `approle`, not a person.
path "auth/approle/role/vctl-user/role-id" { capabilities = ["read"] }
path "auth/approle/role/vctl-user/secret-id" { capabilities = ["update"] }
