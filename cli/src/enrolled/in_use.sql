-- Runs as vctl-rw. $1 is the AppRole of the new identity, $2 are those of the former ones. Returns whether the host logs
-- in with the new one: it has a login, and no purpose has a newer login of a former one. Logins are named as
-- logins.sql says. A newer login is valid for longer; Vault writes whole seconds.
with identity as (
    select approle = $1 as is_new,
           case when length(approle) <= 45 then approle
           else left(approle, 28) || '-' || left(encode(sha256(convert_to(approle, 'UTF8')), 'hex'), 16) end as name
    from unnest($2::text[] || $1::text) approle
), purpose as (
    select max(r.rolvaliduntil) filter (where is_new) as new_until, max(r.rolvaliduntil) filter (where not is_new) as old_until
    from identity
    cross join unnest(array['ingest', 'status']) purpose
    join pg_roles r on starts_with(r.rolname::text, purpose || '/' || identity.name || '/')
    where r.rolcanlogin and r.rolvaliduntil > now()
    group by purpose
)
select coalesce(bool_and(new_until is not null and new_until >= coalesce(old_until, '-infinity')), false) from purpose
