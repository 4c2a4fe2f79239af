# For a host: ships its records and reports its status, under its own name only.
#
# One policy for all hosts: the path contains the name of the AppRole that issued the token, which only Vault
# writes. setup.sh replaces APPROLE_ACCESSOR when it writes the policy.

path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }

path "database/creds/vctl-audit-ingest-{{identity.entity.aliases.APPROLE_ACCESSOR.metadata.role_name}}" { capabilities = ["read"] }
path "database/creds/vctl-status-{{identity.entity.aliases.APPROLE_ACCESSOR.metadata.role_name}}" { capabilities = ["read"] }

# A token can revoke a lease by its id. No policy may list lease ids.
path "sys/leases/revoke/database/creds/vctl-audit-ingest-{{identity.entity.aliases.APPROLE_ACCESSOR.metadata.role_name}}/*" { capabilities = ["update"] }
path "sys/leases/revoke/database/creds/vctl-status-{{identity.entity.aliases.APPROLE_ACCESSOR.metadata.role_name}}/*" { capabilities = ["update"] }

# Creates a new secret id before the old one expires. The AppRole sets its lifetime.
path "auth/approle/role/{{identity.entity.aliases.APPROLE_ACCESSOR.metadata.role_name}}/secret-id" {
  capabilities       = ["update"]
  allowed_parameters = { "metadata" = [] }
}
path "auth/approle/role/{{identity.entity.aliases.APPROLE_ACCESSOR.metadata.role_name}}/secret-id/lookup" { capabilities = ["update"] }
path "auth/approle/role/{{identity.entity.aliases.APPROLE_ACCESSOR.metadata.role_name}}/secret-id/destroy" { capabilities = ["update"] }
