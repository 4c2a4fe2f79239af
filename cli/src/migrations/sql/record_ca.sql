-- Runs as vctl_owner. $1 public key as OpenSSH writes it, $2 its mount. Returns the fingerprint if the key was not
-- recorded before, and sets the person of stored sessions with certificates of that CA.
--
-- The state is `active`, unless the mount beside it has the active CA: then a rotation created this one and was
-- interrupted. An older CA of the same mount becomes `retired`, because it is no longer there.
with new as (
    select 'SHA256:' || rtrim(encode(sha256(decode(split_part($1::text, ' ', 2), 'base64')), 'base64'), '=') as fingerprint
), unknown as (
    select fingerprint from new where not exists (select from vctl.ca_keys k where k.fingerprint = new.fingerprint)
), replaced as (
    update vctl.ca_keys k set state = 'retired', state_since = now()
    from unknown where k.mount = $2::text and k.state <> 'retired'
), entered as (
    insert into vctl.ca_keys (fingerprint, public_key, mount, state)
    select fingerprint, $1::text, $2::text, case when exists (
        select from vctl.ca_keys k
        where k.state = 'active' and k.mount <> $2::text
          and regexp_replace(k.mount, '-next$', '') = regexp_replace($2::text, '-next$', '')
    ) then 'next' else 'active' end
    from unknown
    on conflict (fingerprint) do nothing
    returning fingerprint
), named as (
    update vctl.audit_session s set vault_user = s.key_id
    from entered
    where s.ca_fingerprint = entered.fingerprint and s.vault_user is null
)
select fingerprint from entered
