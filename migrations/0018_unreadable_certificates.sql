-- A login with a certificate that the agent could not read has no serial and no name, so nothing of it could be
-- compared, and `vctl fleet` did not count it. A certificate that is made to be unreadable is how a login would
-- hide, so it counts with those that are contradicted.

-- As in 0015_login_contradictions, with those logins.
create or replace function vctl.doubtful_logins_v1()
    returns table (hostname text, contradicted bigint, unknown_ca bigint)
    language sql stable security definer
    set search_path = vctl, pg_temp
as $$
    select h.hostname,
        count(*) filter (where s.unreadable or array_remove(doubt.words, 'source_address') <> '{}'),
        count(*) filter (where s.key_id is not null and s.vault_user is null)
    from (
        select id, host_id, vault_user, key_id,
            coalesce((opened -> 'auth' -> 'unreadable_certificate')::text = 'true', false) as unreadable
        from vctl.audit_session
        where opened_at > now() - interval '7 days' and opened_at < now() + interval '1 day'
          and (key_id is not null or (opened -> 'auth' -> 'unreadable_certificate')::text = 'true')
          and opened is not null
        order by opened_at desc
        limit 2000
    ) s
    join vctl.audit_host h on h.id = s.host_id
    cross join lateral vctl.login_contradictions(s.id) doubt
    group by h.hostname
$$;
