# For every user: reads the inventory, records the user's login, and gets an AppRole for a machine.

path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }

# `vctl whoami`: the user's own identity, and its groups if setup.sh created them. Other groups have no such path.
path "identity/entity/id/{{identity.entity.id}}" { capabilities = ["read"] }
path "identity/group/id/{{identity.groups.names.vctl-ssh-users.id}}" { capabilities = ["read"] }
path "identity/group/id/{{identity.groups.names.vctl-auditors.id}}" { capabilities = ["read"] }
path "identity/group/id/{{identity.groups.names.vctl-admins.id}}" { capabilities = ["read"] }

path "database/creds/vctl-ro" { capabilities = ["read"] }
path "database/creds/vctl-identity" { capabilities = ["read"] }

# A token can revoke a lease by its id. No policy may list lease ids.
path "sys/leases/revoke/database/creds/vctl-ro/*" { capabilities = ["update"] }
path "sys/leases/revoke/database/creds/vctl-identity/*" { capabilities = ["update"] }

# `vctl login --register`. Logins with it have the name `approle`, not that of a person.
path "auth/approle/role/vctl-user/role-id" { capabilities = ["read"] }
path "auth/approle/role/vctl-user/secret-id" { capabilities = ["update"] }
