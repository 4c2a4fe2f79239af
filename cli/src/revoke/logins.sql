-- Runs as vctl-revoke. $1 whole display names: a login of Vault has the hash of its name.
select count(*) as logins from pg_catalog.pg_roles
where substring(rolname from '~([0-9a-f]{16})/[^/]*$') in (
    select left(encode(sha256(convert_to(name, 'UTF8')), 'hex'), 16) from unnest($1) name)
