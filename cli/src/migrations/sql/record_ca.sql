-- Runs as vctl_owner. $1 the public key as OpenSSH writes it, $2 the mount it is of. Returns the
-- fingerprint of a key that was not known, and gives sessions of it that are here already their person.
with entered as (
    insert into vctl.ca_keys (fingerprint, public_key, mount)
    select 'SHA256:' || rtrim(encode(sha256(decode(split_part($1::text, ' ', 2), 'base64')), 'base64'), '='), $1::text, $2::text
    on conflict (fingerprint) do nothing
    returning fingerprint
), named as (
    update vctl.audit_session s set vault_user = s.key_id
    from entered
    where s.ca_fingerprint = entered.fingerprint and s.vault_user is null
)
select fingerprint from entered
