# A host: ships what it recorded and reports its status, as itself only.
#
# One policy for all hosts: the name in the path is that of the AppRole which the token came from, and
# only Vault writes it. APPROLE_ACCESSOR is filled in when the policy is written.

path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }

path "database/creds/vctl-audit-ingest-{{identity.entity.aliases.APPROLE_ACCESSOR.metadata.role_name}}" { capabilities = ["read"] }
path "database/creds/vctl-status-{{identity.entity.aliases.APPROLE_ACCESSOR.metadata.role_name}}" { capabilities = ["read"] }

# A lease can be given back by who knows its id; nobody may list them.
path "sys/leases/revoke/database/creds/vctl-audit-ingest-{{identity.entity.aliases.APPROLE_ACCESSOR.metadata.role_name}}/*" { capabilities = ["update"] }
path "sys/leases/revoke/database/creds/vctl-status-{{identity.entity.aliases.APPROLE_ACCESSOR.metadata.role_name}}/*" { capabilities = ["update"] }

# A new secret id before the old one expires. How long it lives is the AppRole's to say.
path "auth/approle/role/{{identity.entity.aliases.APPROLE_ACCESSOR.metadata.role_name}}/secret-id" {
  capabilities       = ["update"]
  allowed_parameters = { "metadata" = [] }
}
path "auth/approle/role/{{identity.entity.aliases.APPROLE_ACCESSOR.metadata.role_name}}/secret-id/lookup" { capabilities = ["update"] }
path "auth/approle/role/{{identity.entity.aliases.APPROLE_ACCESSOR.metadata.role_name}}/secret-id/destroy" { capabilities = ["update"] }
