# For an incident team: `vctl revoke` disables a user, revokes the user's tokens, ends the user's live sessions and
# writes the list for sshd. Cannot enable a user again. Reads no table: it sees id, host, account, person and times of
# live sessions, and serials of certificates.

path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }

# Finds the entity of a user by the name at the login.
path "identity/entity-alias/id" { capabilities = ["list"] }
# No other change: it could give rights.
path "identity/entity/id/+" {
  capabilities       = ["update"]
  allowed_parameters = { "disabled" = [true] }
}

# Vault cannot list the tokens of one entity, so vctl looks up each accessor. An accessor gives no use of its token.
path "auth/token/accessors" { capabilities = ["list", "sudo"] }
path "auth/token/lookup-accessor" { capabilities = ["update"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }

path "database/creds/vctl-revoke" { capabilities = ["read"] }

# A token can revoke a lease by its id. No policy may list lease ids.
path "sys/leases/revoke/database/creds/vctl-revoke/*" { capabilities = ["update"] }
