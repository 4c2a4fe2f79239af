-- Requests to end live sessions, and the answers of their hosts.
--
-- A request is written by one function, for a person whose login has the purpose `vctl-session-end`. The host of the
-- session reads and answers it with its own login: the functions find the host by `session_user`, so a host sees no
-- request of another host. No login has a right to change the table, and an answer is written once: the table is the
-- record of each request.

do $$
begin
    if not exists (select from pg_roles where rolname = 'vctl_session_end') then
        raise exception 'the role `vctl_session_end` is missing'
            using errcode = 'undefined_object',
                  hint = 'run the new deploy/vault/setup.sh first: it creates the role';
    end if;
end
$$;

create table vctl.session_end_request (
    id           bigint      generated always as identity primary key,
    -- Without a reference: the request stays when retention removes the session.
    session_id   uuid        not null,
    host_id      integer     not null references vctl.audit_host,
    -- The whole display name, proven by the login.
    requested_by text        not null check (length(requested_by) <= 512),
    login        text        not null,
    reason       text        check (length(reason) <= 500),
    requested_at timestamptz not null default now(),
    -- When the host's agent first got it.
    taken_at     timestamptz,
    answered_at  timestamptz,
    -- `ended`: no process is left. `remaining`: `remaining` lists the processes that are left. `refused`: the host is
    -- configured to end no session. `gone`: the session was over before. `expired`: the host did not take it in a day.
    result       text        check (result in ('ended', 'remaining', 'refused', 'gone', 'expired')),
    -- Processes that got a signal, and those that had to be killed.
    signalled    integer     check (signalled >= 0),
    killed       integer     check (killed >= 0),
    -- [{pid, name, state}]: at most 64, as the host reports them.
    remaining    jsonb,
    -- Sessions of daemons that work for the session (cron, at, systemd --user); they are not ended with it.
    detached     uuid[]      check (cardinality(detached) <= 64),
    -- Why processes could not be signalled, as the host reports it.
    problem      text        check (length(problem) <= 500),
    check ((answered_at is null) = (result is null))
);
-- One open request for each session.
create unique index on vctl.session_end_request (session_id) where answered_at is null;
create index on vctl.session_end_request (host_id) where answered_at is null;
create index on vctl.session_end_request (session_id, requested_at desc);

-- When the agent of a host last asked for requests. It asks only while sessions are open.
create table vctl.session_end_poll (
    host_id  integer     primary key references vctl.audit_host,
    boot_id  uuid        not null,
    asked_at timestamptz not null default now()
);

-- The last sign of a host in one boot: an event, a status report, or a question for requests.
create function vctl.host_seen_at(p_host integer, p_boot uuid) returns timestamptz
    language sql stable
    set search_path = vctl, pg_temp
as $$
    select greatest(
        (select max(m.last_seen) from vctl.ingest_machine m where m.host_id = p_host and m.boot_id = p_boot),
        (select t.reported_at from vctl.server_status t join vctl.audit_host h on h.hostname = t.hostname
         where h.id = p_host and t.boot_id = p_boot),
        (select p.asked_at from vctl.session_end_poll p where p.host_id = p_host and p.boot_id = p_boot))
$$;

-- Open and ended sessions whose ids are within a range, for the question before a request. At most 11.
create function vctl.session_to_end_v1(p_first uuid, p_last uuid)
    returns table (id uuid, hostname text, login_user text, vault_user text, key_id text, opened_at timestamptz,
                   closed_at timestamptz, host_seen_s double precision, host_asks boolean)
    language sql stable security definer
    set search_path = vctl, pg_temp
as $$
    select s.id, h.hostname, s.login_user, s.vault_user, s.key_id, s.opened_at, s.closed_at,
        extract(epoch from now() - vctl.host_seen_at(s.host_id, s.boot_id))::float8,
        exists (select from vctl.session_end_poll p where p.host_id = s.host_id and p.boot_id = s.boot_id)
    from vctl.audit_session s join vctl.audit_host h on h.id = s.host_id
    where s.id between p_first and p_last and s.opened is not null
    order by s.id
    limit 11
$$;

-- Records a request. A second request for a session whose first one waits is the first one.
create function vctl.request_session_end_v1(p_display_name text, p_session uuid, p_reason text,
                                            out request bigint, out is_new boolean)
    language plpgsql security definer
    set search_path = vctl, pg_temp
as $$
declare
    person text := vctl.login_person(p_display_name);
    host_no integer;
    ended timestamptz;
begin
    if length(p_reason) > 500 then
        raise exception 'a reason has at most 500 characters' using errcode = 'string_data_right_truncation';
    end if;
    select host_id, closed_at into host_no, ended from vctl.audit_session where id = p_session;
    if host_no is null then
        raise exception 'session % is not in the central store', p_session using errcode = 'no_data_found';
    end if;
    if ended is not null then
        raise exception 'session % has ended', p_session using errcode = 'no_data_found';
    end if;
    update vctl.session_end_request set answered_at = now(), result = 'expired'
    where session_id = p_session and answered_at is null and requested_at < now() - interval '1 day';
    insert into vctl.session_end_request (session_id, host_id, requested_by, login, reason)
    values (p_session, host_no, person, session_user, p_reason)
    on conflict (session_id) where answered_at is null do nothing
    returning id into request;
    is_new := request is not null;
    if request is null then
        select id into request from vctl.session_end_request
        where session_id = p_session and answered_at is null;
    end if;
end
$$;

-- The state of a request.
create function vctl.session_end_state_v1(p_request bigint)
    returns table (session_id uuid, requested_by text, requested_at timestamptz, taken_at timestamptz,
                   answered_at timestamptz, result text, signalled integer, killed integer, remaining jsonb,
                   detached uuid[], problem text, session_closed_at timestamptz)
    language sql stable security definer
    set search_path = vctl, pg_temp
as $$
    select r.session_id, r.requested_by, r.requested_at, r.taken_at, r.answered_at, r.result, r.signalled, r.killed,
        r.remaining, r.detached, r.problem, s.closed_at
    from vctl.session_end_request r left join vctl.audit_session s on s.id = r.session_id
    where r.id = p_request
$$;

-- The open requests for the caller's host: [{request, session, by, reason}]. `is_crowded` asks the agent to give its
-- connection back while it has no records to ship.
create function vctl.session_ends_v1(p_boot uuid, out is_crowded boolean, out requests jsonb)
    language plpgsql security definer
    set search_path = vctl, pg_temp
as $$
declare
    host_no integer;
begin
    select coalesce(sum(numbackends), 0) > 0.6 * current_setting('max_connections')::integer into is_crowded
    from pg_stat_database;
    requests := '[]';
    select a.id into host_no from vctl.audit_host a where a.hostname = vctl.login_host();
    if host_no is null then
        return;
    end if;
    -- At most one write in 20 s.
    insert into vctl.session_end_poll as p (host_id, boot_id) values (host_no, p_boot)
    on conflict (host_id) do update set boot_id = excluded.boot_id, asked_at = now()
    where p.boot_id <> excluded.boot_id or p.asked_at < now() - interval '20 seconds';
    update vctl.session_end_request r set taken_at = now()
    where r.host_id = host_no and r.answered_at is null and r.taken_at is null
      and r.requested_at > now() - interval '1 day';
    select coalesce(jsonb_agg(jsonb_build_object('request', o.id, 'session', o.session_id, 'by', o.requested_by,
                                                 'reason', o.reason) order by o.id), '[]') into requests
    from (
        select r.id, r.session_id, r.requested_by, r.reason from vctl.session_end_request r
        where r.host_id = host_no and r.answered_at is null and r.requested_at > now() - interval '1 day'
        order by r.id limit 64
    ) o;
end
$$;

-- Records the answer of the caller's host, once.
--
--   p_answer  {result, signalled, killed, remaining: [{pid, name, state}], detached: [session id], problem}
create function vctl.answer_session_end_v1(p_request bigint, p_answer jsonb) returns boolean
    language plpgsql security definer
    set search_path = vctl, pg_temp
as $$
declare
    host_no integer;
begin
    select a.id into host_no from vctl.audit_host a where a.hostname = vctl.login_host();
    if coalesce(p_answer ->> 'result', '') not in ('ended', 'remaining', 'refused', 'gone') then
        raise exception 'an answer is `ended`, `remaining`, `refused` or `gone`'
            using errcode = 'invalid_parameter_value';
    end if;
    update vctl.session_end_request r
    set answered_at = now(), taken_at = coalesce(r.taken_at, now()), result = p_answer ->> 'result',
        signalled = coalesce((p_answer ->> 'signalled')::integer, 0),
        killed = coalesce((p_answer ->> 'killed')::integer, 0),
        remaining = coalesce((
            select jsonb_agg(jsonb_build_object('pid', (e ->> 'pid')::integer, 'name', vctl.cut(e ->> 'name', 64),
                                                'state', vctl.cut(e ->> 'state', 8)))
            from jsonb_array_elements(vctl.items(p_answer, 'remaining', 64)) e), '[]'),
        detached = array(select (e #>> '{}')::uuid from jsonb_array_elements(vctl.items(p_answer, 'detached', 64)) e),
        problem = vctl.cut(p_answer ->> 'problem', 500)
    where r.id = p_request and r.host_id = host_no and r.answered_at is null;
    return found;
end
$$;

revoke all on function vctl.host_seen_at(integer, uuid), vctl.session_to_end_v1(uuid, uuid),
    vctl.request_session_end_v1(text, uuid, text), vctl.session_end_state_v1(bigint), vctl.session_ends_v1(uuid),
    vctl.answer_session_end_v1(bigint, jsonb) from public;
grant usage on schema vctl to vctl_session_end;
grant execute on function vctl.compat_v1() to vctl_session_end;
grant execute on function vctl.session_to_end_v1(uuid, uuid), vctl.request_session_end_v1(text, uuid, text),
    vctl.session_end_state_v1(bigint) to vctl_session_end;
grant execute on function vctl.session_ends_v1(uuid), vctl.answer_session_end_v1(bigint, jsonb) to vctl_audit_ingest;
-- Auditors read the requests, and which hosts ask for them.
grant execute on function vctl.host_seen_at(integer, uuid) to vctl_audit_ro;
grant select on vctl.session_end_request, vctl.session_end_poll to vctl_audit_ro;
