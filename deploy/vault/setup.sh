#!/usr/bin/env bash
# Sets up a Vault (or OpenBao) and a Postgres for vctl. May be run again at any time: it
# corrects the objects of vctl, creates missing ones, and never replaces a key or an id.
#
#   PG_ADMIN_PASS=... PG_HOST=db.example.net PG_SSLROOTCERT=ca.pem ./deploy/vault/setup.sh
#   vctl migrate
#
# The administrator's password is used only here and stored nowhere: Vault gets its own login and replaces
# that login's password with a secret one.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: [NAME=VALUE ...] setup.sh [--postgres]

--postgres sets up only Postgres, for use when Vault is configured by other means

requires a Vault token with all rights (VAULT_TOKEN, or that of `vault login`), a superuser of
Postgres, `vault` or `bao`, and `psql`

  VAULT_ADDR, VAULT_CACERT, VAULT_TOKEN, ...  as for the CLI of Vault
  VAULT_CLI=vault          the CLI; `bao` if there is no `vault`
  PG_ADMIN_PASS            password of the superuser; without it libpq reads its PGPASSFILE
  PG_ADMIN_USER=postgres   name of the superuser
  PG_HOST                  name of the server in its certificate, resolvable from here and from Vault
  PG_PORT=5432
  PG_DB=vctl               database; created if it is missing
  PG_SSLROOTCERT           file with the certificate of the CA that signed the server's certificate
  PG_VAULT_HOST=$PG_HOST   the same server, if Vault reaches it under another name
  PG_VAULT_PORT=$PG_PORT
  PG_VAULT_SSLROOTCERT=$PG_SSLROOTCERT  the same file, by its path on the Vault server; empty for the
                           CAs that its system trusts
  PG_TEMP_FILE_LIMIT=1GB   limit of temporary files for each connection to PG_DB
  PG_KEEP_CONNECT=         any value: all logins may still connect to the databases `postgres` and
                           `template1`, for a server that is also used for other purposes
  LEASE_TTL=1h             lifetime of database logins
  LEASE_MAX_TTL=4h         maximum lifetime of database logins, with renewals
  LOGINS_PER_PERSON=16     limit of database logins of one person at a time, all purposes together
  CONNECTIONS_PER_PERSON=64  limit of connections of these logins; at least two for each login
  CREDS_RATE=300           limit of new database logins for one client address in a minute, per purpose
  SSH_ALLOWED_USERS=ubuntu,rocky,root  Unix accounts that certificates may name
  SCOPES                   scope file: scopes.example.json, docs/rbac-scopes.md. Roles, policies and groups of
                           scopes that are not in the file are removed; without the setting all stay
  SECRET_ID_TTL=720h       lifetime of secret ids of the AppRoles of people and jobs
TEXT
}

fail() {
    printf 'error: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf 'hint: %s\n' "$2" >&2
    exit 1
}

say() { printf '%s\n' "$*"; }

only_postgres=
case "${1-}" in
-h | --help)
    usage
    exit 0
    ;;
--postgres) only_postgres=1 ;;
?*)
    usage >&2
    exit 2
    ;;
esac

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PG_ADMIN_USER=${PG_ADMIN_USER:-postgres}
PG_PORT=${PG_PORT:-5432}
PG_DB=${PG_DB:-vctl}
LEASE_TTL=${LEASE_TTL:-1h}
LEASE_MAX_TTL=${LEASE_MAX_TTL:-4h}
LOGINS_PER_PERSON=${LOGINS_PER_PERSON:-16}
CONNECTIONS_PER_PERSON=${CONNECTIONS_PER_PERSON:-64}
CREDS_RATE=${CREDS_RATE:-300}
PG_TEMP_FILE_LIMIT=${PG_TEMP_FILE_LIMIT:-1GB}
SSH_ALLOWED_USERS=${SSH_ALLOWED_USERS:-ubuntu,rocky,root}
SECRET_ID_TTL=${SECRET_ID_TTL:-720h}

[ -n "${PG_HOST-}" ] || fail 'PG_HOST is not set' 'run setup.sh --help'
[ -r "${PG_SSLROOTCERT-}" ] || fail "cannot read PG_SSLROOTCERT, \`${PG_SSLROOTCERT-}\`" \
    'set it to a file with the certificate of the CA that signed the certificate of Postgres'
[ -z "${SCOPES-}" ] || [ -r "$SCOPES" ] || fail "cannot read SCOPES, \`$SCOPES\`" 'set it to a scope file, such as scopes.example.json'
[[ $PG_DB =~ ^[a-z_][a-z0-9_]*$ ]] || fail "PG_DB, \`$PG_DB\`, is not a plain name"
for name in LOGINS_PER_PERSON CONNECTIONS_PER_PERSON CREDS_RATE; do
    [[ ${!name} =~ ^[1-9][0-9]*$ ]] || fail "$name, \`${!name}\`, is not a number above 0"
done
[ "$CONNECTIONS_PER_PERSON" -ge $((2 * LOGINS_PER_PERSON)) ] ||
    fail "CONNECTIONS_PER_PERSON, \`$CONNECTIONS_PER_PERSON\`, is less than two for each of LOGINS_PER_PERSON"
[[ $PG_TEMP_FILE_LIMIT =~ ^[0-9]+[kMGT]B$ ]] || fail "PG_TEMP_FILE_LIMIT, \`$PG_TEMP_FILE_LIMIT\`, is not a size such as 1GB"
PG_VAULT_HOST=${PG_VAULT_HOST:-$PG_HOST}
PG_VAULT_PORT=${PG_VAULT_PORT:-$PG_PORT}
# OpenBao takes a file only, and as a part of a URL.
PG_VAULT_SSLROOTCERT=${PG_VAULT_SSLROOTCERT-$(realpath "$PG_SSLROOTCERT")}
[[ $PG_VAULT_SSLROOTCERT =~ ^[A-Za-z0-9/._-]*$ ]] || fail "PG_VAULT_SSLROOTCERT, \`$PG_VAULT_SSLROOTCERT\`, is not a plain path"
command -v psql >/dev/null || fail "\`psql\` is not installed" 'install postgresql-client'
if [ -z "$only_postgres${VAULT_CLI-}" ]; then
    for VAULT_CLI in vault bao ''; do
        [ -n "$VAULT_CLI" ] || fail "neither \`vault\` nor \`bao\` is on PATH" 'install one, or set VAULT_CLI to its path'
        if command -v "$VAULT_CLI" >/dev/null; then break; fi
    done
fi

vault() { "$VAULT_CLI" "$@"; }

# Writes the JSON on stdin to a path of Vault. Arguments would be visible to every user of this machine.
put() { vault write "$1" - >/dev/null; }

# Prints text as a JSON string.
json() {
    local text=$1
    text=${text//\\/\\\\}
    text=${text//\"/\\\"}
    text=${text//$'\t'/\\t}
    printf '"%s"' "${text//$'\n'/\\n}"
}

sql() {
    PGPASSWORD=${PG_ADMIN_PASS-} PGCONNECT_TIMEOUT=20 PGSSLMODE=verify-full \
        PGSSLROOTCERT=$PG_SSLROOTCERT PGOPTIONS='-c client_min_messages=warning' \
        psql -X -q -w -A -t -v ON_ERROR_STOP=1 -h "$PG_HOST" -p "$PG_PORT" -U "$PG_ADMIN_USER" -d "$1" -f -
}

groups=(vctl_ro vctl_rw vctl_identity vctl_audit_ro vctl_audit_writer vctl_audit_ingest vctl_status vctl_pruner vctl_session_end vctl_revoke vctl_stream_ingest)

# Prints one line for each scope of the file: `scope|NAME|SCOPE|PRINCIPALS|TTL|MAX_TTL`. Postgres parses the JSON.
read_scopes() {
    local text
    text=$(<"$SCOPES")
    {
        printf "create temporary table scope_file as select '%s'::json as file;\n" "${text//\'/\'\'}"
        cat "$here/sql/read-scopes.sql"
    } | sql postgres
}

# --- Postgres -------------------------------------------------------------------------------------

say "postgres: roles on $PG_HOST:$PG_PORT"
for role in vctl_owner "${groups[@]}"; do
    printf "select 'create role %s nologin' where not exists (select from pg_roles where rolname = '%s') \\gexec\n" \
        "$role" "$role"
done | sql postgres || fail "Postgres does not accept the commands of \`$PG_ADMIN_USER\`" \
    'check PG_HOST, PG_PORT, PG_SSLROOTCERT, PG_ADMIN_USER and PG_ADMIN_PASS: setup.sh --help'

# vctl_vault is a member of every group so that it can grant the membership. It inherits none of their rights.
sql postgres <<SQL
select 'create role vctl_vault login createrole noinherit'
where not exists (select from pg_roles where rolname = 'vctl_vault') \\gexec
alter role vctl_vault login createrole noinherit nosuperuser nocreatedb noreplication nobypassrls;
grant vctl_owner, $(IFS=,; printf '%s' "${groups[*]}") to vctl_vault with admin option;
SQL

# Before the first change of Vault.
scopes=
if [ -z "$only_postgres" ] && [ -n "${SCOPES-}" ]; then
    scopes=$(read_scopes) || fail "SCOPES, \`$SCOPES\`, is not a JSON object" 'see scopes.example.json and docs/rbac-scopes.md'
    [[ $scopes != problem* ]] || fail "SCOPES, \`$SCOPES\`: $(cut -d '|' -f 2 <<<"$scopes" | head -n 1)" 'see docs/rbac-scopes.md'
fi

say "postgres: database $PG_DB"
sql postgres <<SQL
select 'create database $PG_DB owner vctl_owner'
where not exists (select from pg_database where datname = '$PG_DB') \\gexec
alter database $PG_DB owner to vctl_owner;
revoke all on database $PG_DB from public;
grant connect on database $PG_DB to vctl_vault, $(IFS=,; printf '%s' "${groups[*]}");
SQL
sql "$PG_DB" <<'SQL'
revoke create on schema public from public;
SQL
# A read-only login must not write to the disk or hold a lock that other logins wait for.
sql "$PG_DB" <"$here/sql/harden-database.sql"
# Only a superuser can change the first setting. The second one prevents accidents; a login may change it.
sql postgres <<SQL
alter database $PG_DB set temp_file_limit = '$PG_TEMP_FILE_LIMIT';
alter database $PG_DB set idle_in_transaction_session_timeout = '15min';
SQL
# In these databases every login may call the functions above, and its objects there outlive its lease.
if [ -n "${PG_KEEP_CONNECT-}" ]; then
    sql postgres <<<'grant connect on database postgres, template1 to public;'
else
    sql postgres <<<'revoke connect, temporary on database postgres, template1 from public;'
fi

# Connections that only Vault and hosts may use, however many logins people have.
version=$(sql postgres <<<'show server_version_num')
if [ "$version" -ge 160000 ]; then
    sql postgres <<'SQL'
grant pg_use_reserved_connections to vctl_vault, vctl_audit_ingest, vctl_stream_ingest, vctl_status with inherit true;
SQL
    if [ "$(sql postgres <<<'show reserved_connections')" = 0 ]; then
        say 'note: reserved_connections of Postgres is 0: set it, so that logins of people cannot block Vault and hosts'
    fi
fi
if [ "$(sql postgres <<<'show max_prepared_transactions')" != 0 ]; then
    say 'note: max_prepared_transactions of Postgres is not 0: a prepared transaction outlives its login'
fi

if [ -n "$only_postgres" ]; then
    say 'next: set the first password of vctl_vault (\password in psql), and configure the same in Vault'
    exit 0
fi

# --- Vault: mounts --------------------------------------------------------------------------------

secrets=$(vault secrets list -format=json) || fail "cannot list the mounts of Vault at \`${VAULT_ADDR-}\`" \
    'check VAULT_ADDR, VAULT_CACERT and VAULT_TOKEN'
auths=$(vault auth list -format=json)
# Two SSH engines: during a rotation one has the old CA and the other the new one.
for mount in ssh ssh-next database; do
    if [[ $secrets == *"\"$mount/\":"* ]]; then
        say "vault: $mount/ is there"
    else
        say "vault: enable $mount/"
        vault secrets enable -path="$mount" "${mount%-next}" >/dev/null
    fi
done
for mount in userpass approle oidc; do
    if [[ $auths == *"\"$mount/\":"* ]]; then
        say "vault: auth/$mount/ is there"
    else
        say "vault: enable auth/$mount/"
        vault auth enable -path="$mount" "$mount" >/dev/null
    fi
done
approle=$(vault read -field=accessor sys/auth/approle)
oidc=$(vault read -field=accessor sys/auth/oidc)

# Without these settings the audit log has only hashes of the names and serials that an auditor needs.
for mount in ssh ssh-next; do
    vault secrets tune -audit-non-hmac-request-keys=valid_principals -audit-non-hmac-request-keys=ttl \
        -audit-non-hmac-response-keys=serial_number "$mount" >/dev/null
done
vault secrets tune -audit-non-hmac-response-keys=username database >/dev/null

# --- Vault: database engine -----------------------------------------------------------------------

# `<purpose>/<who>~<hash of who>/<random>`, at most 63 bytes. <who> is the display name of the token, escaped
# and cut. For a host: `<purpose>/<host>.<generation>/<random>`. vctl.login_person reads this name.
template=$(<"$here/username.tmpl")

url="$PG_VAULT_HOST:$PG_VAULT_PORT/$PG_DB?sslmode=verify-full"
[ -z "$PG_VAULT_SSLROOTCERT" ] || url+="&sslrootcert=$PG_VAULT_SSLROOTCERT"

# Prints the configuration of the connection; with a password also the login vctl_vault.
connection() {
    printf '{"plugin_name": "postgresql-database-plugin", "allowed_roles": ["vctl-*"],'
    printf '"connection_url": %s,' "$(json "postgresql://{{username}}:{{password}}@$url")"
    printf '"username_template": %s,' "$(json "$template")"
    # Vault hashes the passwords, so that no log of Postgres contains one.
    printf '"password_authentication": "scram-sha-256", "max_open_connections": 8'
    [ $# -eq 0 ] || printf ', "username": "vctl_vault", "password": %s' "$(json "$1")"
    printf '}'
}

if vault read database/config/vctl >/dev/null 2>&1 && connection | put database/config/vctl 2>/dev/null; then
    say 'vault: database/config/vctl is there, and logs in'
else
    say 'vault: database/config/vctl, with a new password for vctl_vault'
    # A log of Postgres may contain it, but Vault replaces it within a second.
    password=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')
    printf "alter role vctl_vault password '%s';\n" "$password" | sql postgres
    connection "$password" | put database/config/vctl ||
        fail "Vault cannot connect to \`$url\`" \
            'set PG_VAULT_HOST, PG_VAULT_PORT and PG_VAULT_SSLROOTCERT as the Vault server sees them'
    vault write -f database/rotate-root/vctl >/dev/null
fi

# Writes a database role. Arguments: name, creation file, group. The revocation statement is the same for all.
revocation=$(<"$here/sql/revoke-login.sql")
database_role() {
    say "vault: database/roles/$1"
    local creation
    creation=$(<"$here/sql/$2")
    creation=${creation//LOGINS/$LOGINS_PER_PERSON}
    creation=${creation//CONNECTIONS/$CONNECTIONS_PER_PERSON}
    put "database/roles/$1" <<JSON
{"db_name": "vctl", "default_ttl": "$LEASE_TTL", "max_ttl": "$LEASE_MAX_TTL",
 "creation_statements": [$(json "${creation//GROUP/$3}")],
 "revocation_statements": [$(json "$revocation")]}
JSON
}
for group in "${groups[@]}"; do
    database_role "${group//_/-}" create-login.sql "$group"
done
database_role vctl-migrator create-migrator.sql vctl_owner

# A limit for each client address and purpose. Hosts have other paths and do not share it. It limits how fast
# roles are created and dropped; the creation statement limits their number for one person.
for group in "${groups[@]}" vctl_migrator; do
    say "vault: sys/quotas/rate-limit/${group//_/-}"
    put "sys/quotas/rate-limit/${group//_/-}" <<<"{\"path\": \"database/creds/${group//_/-}\", \"rate\": $CREDS_RATE, \"interval\": \"60s\"}"
done

# --- Vault: SSH CA --------------------------------------------------------------------------------

has_ca() { vault read -field=public_key "$1/config/ca" >/dev/null 2>&1; }

# After a rotation the other mount signs: `vctl ca ssh-rotate` then creates and removes CAs.
if has_ca ssh || has_ca ssh-next; then
    say 'vault: the SSH CA is there'
else
    say 'vault: create the SSH CA, ssh/config/ca'
    put ssh/config/ca <<<'{"generate_signing_key": true, "key_type": "ed25519"}'
fi
# Writes a role that signs certificates of users. Arguments: mount, name, principals, ttl, max_ttl.
#
# No default extensions: Vault adds them to every certificate that was requested without any, and a command
# needs none. An empty list of critical options allows all of them, so the list has one that no client
# requests. Only ed25519 keys, which vctl creates; 0 stands for their fixed length.
user_role() {
    say "vault: $1/roles/$2"
    put "$1/roles/$2" <<JSON
{"key_type": "ca", "allow_user_certificates": true, "allowed_users": $(json "$3"),
 "ttl": "$4", "max_ttl": "$5", "key_id_format": "{{token_display_name}}", "allow_user_key_ids": false,
 "allowed_extensions": "permit-pty,permit-port-forwarding,permit-agent-forwarding",
 "allowed_critical_options": "none-allowed", "allowed_user_key_lengths": {"ed25519": 0},
 "default_extensions": {}}
JSON
}
for mount in ssh ssh-next; do
    user_role "$mount" sre-core "$SSH_ALLOWED_USERS" 30m 2h
    # Signs host certificates for any name, so only vctl-admin may use it.
    say "vault: $mount/roles/vctl-host"
    put "$mount/roles/vctl-host" <<'JSON'
{"key_type": "ca", "allow_host_certificates": true, "allow_user_certificates": false, "allowed_domains": "*",
 "allow_bare_domains": true, "ttl": "2160h", "max_ttl": "8784h", "allow_user_key_ids": true}
JSON
done

# --- Vault: policies, AppRoles, groups ------------------------------------------------------------

# Writes a policy. Arguments: name, text.
policy() {
    if [ "$(vault policy read "$1" 2>/dev/null)" = "$2" ]; then
        say "vault: policy $1 is there"
    else
        say "vault: policy $1"
        vault policy write "$1" - <<<"$2" >/dev/null
    fi
}
for file in "$here"/policies/*.hcl; do
    text=$(<"$file")
    policy "$(basename "$file" .hcl)" "${text//APPROLE_ACCESSOR/$approle}"
done

for name in vctl-user vctl-pruner vctl-enroll vctl-stream-ingest; do
    say "vault: auth/approle/role/$name"
    put "auth/approle/role/$name" <<JSON
{"token_policies": ["$name"], "token_ttl": "1h", "token_max_ttl": "24h", "secret_id_ttl": "$SECRET_ID_TTL"}
JSON
done

# Prints a field of the JSON on stdin, or nothing. Argument: its path. Postgres parses the JSON.
json_field() {
    local text
    text=$(cat)
    printf "select '%s'::json #>> '{%s}';\n" "${text//\'/\'\'}" "$1" | sql postgres
}

# Writes an external group: the identity provider defines its members. The alias is the provider's name of the group.
# Aliases that differ from the group's name stay, as oidc-phase2.md sets them.
external_group() {
    say "vault: group $1"
    put "identity/group/name/$1" <<<"{\"type\": \"external\", \"policies\": [$2]}"
    local group id alias=identity/group-alias
    group=$(vault read -format=json "identity/group/name/$1")
    if [[ $group == *"\"$oidc\""* ]]; then
        [ "$(json_field data,alias,name <<<"$group")" = "$1" ] && [ -n "$parent" ] || return 0
        alias+=/id/$(json_field data,alias,id <<<"$group")
    fi
    id=$(json_field data,id <<<"$group")
    put "$alias" <<<"{\"name\": \"$parent$1\", \"mount_accessor\": \"$oidc\", \"canonical_id\": \"$id\"}"
}

# The part of the provider's names before the group's name, such as `sre/` with GitLab. A later group gets it too: every
# user of GitLab may create a top-level group with the plain name of a scope.
parent=
external_group vctl-ssh-users '"vctl-ssh"'
known=$(vault read -format=json identity/group/name/vctl-ssh-users | json_field data,alias,name)
case $known in
*/vctl-ssh-users) parent=${known%vctl-ssh-users} ;;
esac
external_group vctl-auditors '"vctl-auditor"'
external_group vctl-admins '"vctl-admin", "vctl-ssh", "vctl-auditor"'

# --- Vault: scopes of grants ----------------------------------------------------------------------

# Every scope has a role, a policy and an external group of the same name.
scope_policy=$(<"$here/scope-policy.hcl")
while IFS='|' read -r kind name scope principals ttl max_ttl; do
    [ "$kind" = scope ] || continue
    for mount in ssh ssh-next; do
        user_role "$mount" "$name" "$principals" "${ttl}s" "${max_ttl}s" </dev/null
    done
    text=${scope_policy//NAME/$name}
    policy "$name" "${text//SCOPE/$scope}" </dev/null
    external_group "$name" "\"$name\"" </dev/null
done <<<"$scopes"

# Prints the names of scopes that are not in the file, of the list on stdin.
other_scopes() {
    local name
    tr -d '", ' | while read -r name; do
        case $name in
        vctl-scope-*) grep -Fq -e "scope|$name|" <<<"$scopes" || printf '%s\n' "$name" ;;
        esac
    done
}
if [ -n "${SCOPES-}" ]; then
    for path in ssh/roles ssh-next/roles sys/policies/acl identity/group/name; do
        # Each of these paths has other entries, so an empty answer is a failure too.
        listed=$(vault list -format=json "$path") ||
            fail "Vault does not list \`$path\`, so removed scopes may still be valid" 'run this again with a token that may list it'
        for name in $(other_scopes <<<"$listed"); do
            say "vault: remove $path/$name, which is not in $SCOPES"
            vault delete "$path/$name" >/dev/null
        done
    done
fi

# --- Notes for the administrator ------------------------------------------------------------------

say 'done'
if [ "$(vault read -format=json sys/audit 2>/dev/null | tr -d ' \n' | grep -c '"type":')" = 0 ]; then
    say 'note: Vault has no audit device: there is no record of signed certificates'
fi
if ! vault read auth/oidc/config >/dev/null 2>&1; then
    say 'note: auth/oidc is not configured: see deploy/vault/oidc-phase2.md'
fi
say 'next: vctl migrate'
