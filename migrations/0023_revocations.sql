-- Revocations of a user's access by `vctl revoke`: the record, the user's live sessions and certificates.
--
-- Vault revokes the tokens. The login of `vctl revoke` has the purpose `vctl-session-end`, because it also requests the
-- end of live sessions. No login has a right to change the table: a row is written before anything is revoked, and the
-- same login writes the outcome into it once.

create table vctl.revocation (
    id           bigint      generated always as identity primary key,
    -- Whole display names of the user: `oidc-albert`.
    names        text[]      not null check (cardinality(names) between 1 and 64 and array_position(names, null) is null
                                             and length(array_to_string(names, '')) <= 16384),
    -- The user's entity in Vault's identity store, if there is one.
    entity_id    text        check (length(entity_id) <= 64),
    -- The whole display name, proven by the login.
    requested_by text        not null check (length(requested_by) <= 512),
    login        text        not null,
    reason       text        check (length(reason) <= 500),
    requested_at timestamptz not null default now(),
    finished_at  timestamptz,
    -- Counts of revoked tokens and ended sessions, and the parts that were not reached.
    outcome      jsonb       check (length(outcome::text) <= 16384),
    check ((finished_at is null) = (outcome is null))
);
create index on vctl.revocation (requested_at desc);

-- Open sessions of a user, with the columns of `session_to_end_v1`. At most 256.
create function vctl.sessions_of_v1(p_names text[])
    returns table (id uuid, hostname text, login_user text, vault_user text, key_id text, opened_at timestamptz,
                   closed_at timestamptz, host_seen_s double precision, host_asks boolean)
    language sql stable security definer
    set search_path = vctl, pg_temp
as $$
    select s.id, h.hostname, s.login_user, s.vault_user, s.key_id, s.opened_at, s.closed_at,
        extract(epoch from now() - vctl.host_seen_at(s.host_id, s.boot_id))::float8,
        exists (select from vctl.session_end_poll p where p.host_id = s.host_id and p.boot_id = s.boot_id)
    from vctl.audit_session s join vctl.audit_host h on h.id = s.host_id
    where s.vault_user = any(p_names[1:1024]) and s.closed_at is null and s.opened is not null
    order by s.id
    limit 256
$$;

-- Serials of certificates that were signed for these names in the last day, from access rows, jump hosts and sessions.
-- Vault signs for two hours unless a role allows more. At most 100,000.
create function vctl.certificates_of_v1(p_names text[]) returns table (serial text)
    language sql stable security definer
    set search_path = vctl, pg_temp
as $$
    select distinct c.cert_serial::text
    from (
        select a.cert_serial from vctl.access_log a
        where a.vault_user = any(p_names[1:1024]) and a.opened_at > now() - interval '1 day'
        union all
        select p.cert_serial from vctl.access_log a join vctl.access_hop p on p.access_id = a.id
        where a.vault_user = any(p_names[1:1024]) and a.opened_at > now() - interval '1 day'
        union all
        select s.cert_serial from vctl.audit_session s
        where s.vault_user = any(p_names[1:1024]) and s.opened_at > now() - interval '1 day'
    ) c
    where c.cert_serial is not null
    limit 100000
$$;

-- Names of all users whose access was revoked in the last day, for the list that sshd reads.
create function vctl.revoked_names_v1() returns table (name text)
    language sql stable security definer
    set search_path = vctl, pg_temp
as $$
    select distinct n from vctl.revocation r, unnest(r.names) n
    where r.requested_at > now() - interval '1 day'
    limit 1024
$$;

-- Records a revocation that is about to begin.
create function vctl.begin_revocation_v1(p_display_name text, p_names text[], p_entity text, p_reason text)
    returns bigint
    language plpgsql security definer
    set search_path = vctl, pg_temp
as $$
declare
    person text := vctl.login_person(p_display_name);
    row_id bigint;
begin
    insert into vctl.revocation (names, entity_id, requested_by, login, reason)
    values (p_names, p_entity, person, session_user, p_reason)
    returning id into row_id;
    return row_id;
end
$$;

-- Records the outcome, once, by the login that began it.
create function vctl.finish_revocation_v1(p_id bigint, p_outcome jsonb) returns boolean
    language plpgsql security definer
    set search_path = vctl, pg_temp
as $$
begin
    update vctl.revocation r set finished_at = now(), outcome = coalesce(p_outcome, '{}')
    where r.id = p_id and r.login = session_user and r.finished_at is null;
    return found;
end
$$;

revoke all on function vctl.sessions_of_v1(text[]), vctl.certificates_of_v1(text[]), vctl.revoked_names_v1(),
    vctl.begin_revocation_v1(text, text[], text, text), vctl.finish_revocation_v1(bigint, jsonb) from public;
grant execute on function vctl.sessions_of_v1(text[]), vctl.certificates_of_v1(text[]), vctl.revoked_names_v1(),
    vctl.begin_revocation_v1(text, text[], text, text), vctl.finish_revocation_v1(bigint, jsonb) to vctl_session_end;
grant select on vctl.revocation to vctl_audit_ro;
