-- A session that could not be recorded at first, and was recorded later. Its host wrote that it has ended (`never_recorded`:
-- a map of the kernel was full, or the disk was slow), and the login went on without its stamp. Then the agent opened the
-- session again. The central store kept the first end for ever: such a session was in no list of live sessions, no request
-- could end it, and its own end was left out.

-- Returns the host's clock until which nothing of a session was recorded, by the entry of its end. Null for another end.
create function vctl.never_recorded_until(closed json) returns numeric
    language sql immutable parallel safe
    set search_path = vctl, pg_temp
as $$
    select case when closed ->> 'reason' = 'never_recorded' then (closed ->> 'at')::numeric end
$$;
revoke all on function vctl.never_recorded_until(json) from public;

-- Returns whether a session was recorded after an end that says that it never was.
create function vctl.began_after(opened json, closed json) returns boolean
    language sql immutable parallel safe
    set search_path = vctl, pg_temp
as $$
    select coalesce((opened ->> 'marked_at')::numeric > vctl.never_recorded_until(closed), false)
$$;
revoke all on function vctl.began_after(json, json) from public;

-- As in 0030_stream_names, but for such sessions. A batch has several entries of one session in no order: the clock of the
-- host orders them, and a batch that is sent again changes nothing.
--
-- p_address is the address of the host, null if a consumer stores the batch.
create or replace function vctl.store_batch(
    host text, p_address inet, p_machine uuid, p_boot uuid, p_agent_version text, p_spool uuid, p_from bigint[], p_to bigint[],
    p_opened json[], p_closed json[], p_gaps json[],
    e_session uuid[], e_seq bigint[], e_at timestamptz[], e_wall bigint[], e_kind smallint[],
    e_pid integer[], e_ppid integer[], e_uid bigint[], e_status integer[],
    e_exe bytea[], e_cwd bytea[], e_filename bytea[], e_argv bytea[], e_head bytea[],
    out cursor_segment bigint, out cursor_offset bigint, out cursor_check bigint, out other_machine text)
    language plpgsql security definer
    set search_path = vctl, pg_temp
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
as $$
declare
    host_no integer;
    today   date := (now() at time zone 'UTC')::date;
    -- What is outside of these is stored under the day of its arrival.
    oldest  timestamptz := (today - 30)::timestamp at time zone 'UTC';
    newest  timestamptz := (today + 2)::timestamp at time zone 'UTC';
    -- Per session of the batch; null is the session of events that have none.
    b_session  uuid[];
    b_events   bigint[];
    b_execs    bigint[];
    b_last_seq bigint[];
    b_first_at timestamptz[];
    b_last_at  timestamptz[];
    b_first_day date[];
    b_last_day  date[];
    mentioned  uuid[];
    foreign_session uuid;
    missing_day date;
    epoch   constant timestamptz := '1970-01-01 00:00:00+00';
    beyond  constant timestamptz := '2263-01-01 00:00:00+00';
    refused text;
    b_first_seq bigint[];
    least_seq bigint;
    is_seen_before boolean;
begin
    if greatest(cardinality(p_opened), cardinality(p_closed), cardinality(p_gaps), cardinality(e_seq)) > 65536
        or pg_column_size(e_exe) + pg_column_size(e_cwd) + pg_column_size(e_filename) + pg_column_size(e_argv)
           + pg_column_size(e_head) > 33554432
        or length(p_agent_version) > 64 then
        raise exception 'a batch has at most 65536 entries of each kind and 32 MiB of text'
            using errcode = 'program_limit_exceeded';
    end if;
    -- An agent numbers from 1, and turns each clock into a time between 1970 and 2262.
    select what into refused
    from (
        select 'opening', octet_length(e ->> 'entry'), (e ->> 'opened_at')::timestamptz, null::timestamptz, 0::bigint
        from unnest(p_opened) e
        union all
        select 'end', octet_length(e ->> 'entry'), (e ->> 'closed_at')::timestamptz, null,
            coalesce((e ->> 'produced')::bigint, 0)
        from unnest(p_closed) e
        union all
        select 'gap', octet_length(e ->> 'entry'), (e ->> 'from_at')::timestamptz, (e ->> 'to_at')::timestamptz,
            coalesce((e ->> 'events')::bigint, 0)
        from unnest(p_gaps) e
    ) as entries (what, bytes, from_at, to_at, number)
    where bytes > 2097152 or number < 0
       or from_at < epoch or from_at > beyond or to_at < epoch or to_at > beyond
    limit 1;
    if refused is not null then
        raise exception 'the % of a session has more than 2 MiB, a time outside of 1970 to 2262, or a negative number',
            refused using errcode = 'numeric_value_out_of_range';
    end if;
    select id into host_no from vctl.audit_host where hostname = host;
    if host_no is null then
        insert into vctl.audit_host (hostname) values (host)
        on conflict (hostname) do update set hostname = excluded.hostname returning id into host_no;
    end if;

    select segment, "offset", batch_check into cursor_segment, cursor_offset, cursor_check
    from vctl.ingest_cursor where host_id = host_no and spool_id = p_spool for update;
    if not found then
        -- Another consumer may store the first batch of the spool at the same time.
        insert into vctl.ingest_cursor (host_id, spool_id, segment, "offset", batch_check)
        values (host_no, p_spool, p_from[1], p_from[2], p_from[3])
        on conflict do nothing;
        select segment, "offset", batch_check into cursor_segment, cursor_offset, cursor_check
        from vctl.ingest_cursor where host_id = host_no and spool_id = p_spool for update;
    end if;

    insert into vctl.ingest_machine as m (host_id, machine_id, boot_id, agent_version, address)
    values (host_no, p_machine, p_boot, p_agent_version, p_address)
    on conflict (host_id, machine_id) do update
    set boot_id = excluded.boot_id, agent_version = excluded.agent_version,
        address = excluded.address, last_seen = now();
    select format('machine %s at %s', machine_id, coalesce(pg_catalog.host(address), 'no address')) into other_machine
    from vctl.ingest_machine
    where host_id = host_no and machine_id <> p_machine and last_seen > now() - interval '10 minutes'
    order by last_seen desc limit 1;

    if (cursor_segment, cursor_offset, cursor_check) <> (p_from[1], p_from[2], p_from[3]) then
        return;
    end if;

    -- The columns are to search by, and an index takes no long text; the entry has all of it.
    insert into vctl.audit_session as s (id, host_id, boot_id, opened, opened_wall, opened_at, login_user, service,
        origin, from_session, source_ip, stamp, ca_fingerprint, cert_serial, key_id, vault_user)
    select distinct on (o.id) o.id, host_no, o.boot_id, o.entry::json, o.wall, o.opened_at,
        vctl.cut(o.login_user, 255), vctl.cut(o.service, 255), vctl.cut(o.origin, 64), o.from_session, o.source_ip,
        vctl.cut(o.stamp, 64), vctl.cut(o.ca_fingerprint, 128), o.cert_serial, vctl.cut(o.key_id, 512),
        case when length(o.key_id) <= 512
              and exists (select from vctl.ca_keys k where k.fingerprint = o.ca_fingerprint) then o.key_id end
    from unnest(p_opened) with ordinality as entries (e, nr),
         json_to_record(e) as o (id uuid, boot_id uuid, wall bigint, opened_at timestamptz, login_user text,
             service text, origin text, from_session uuid, source_ip inet, stamp text, ca_fingerprint text,
             cert_serial numeric, key_id text, entry text)
    order by o.id, nr desc
    -- Written again at the head of each segment, and once before if only its events were known.
    on conflict (id) do update
    set opened = excluded.opened, opened_wall = excluded.opened_wall, opened_at = excluded.opened_at,
        boot_id = excluded.boot_id, login_user = excluded.login_user, service = excluded.service,
        origin = excluded.origin, from_session = excluded.from_session, source_ip = excluded.source_ip,
        stamp = excluded.stamp, ca_fingerprint = excluded.ca_fingerprint, cert_serial = excluded.cert_serial,
        key_id = excluded.key_id, vault_user = excluded.vault_user, updated_at = now(),
        closed = case when not vctl.began_after(excluded.opened, s.closed) then s.closed end,
        closed_wall = case when not vctl.began_after(excluded.opened, s.closed) then s.closed_wall end,
        closed_at = case when not vctl.began_after(excluded.opened, s.closed) then s.closed_at end,
        produced = case when not vctl.began_after(excluded.opened, s.closed) then s.produced end
    where s.host_id = host_no and (s.opened is null or vctl.began_after(excluded.opened, s.closed));

    select array_agg(session), array_agg(events), array_agg(execs), array_agg(last_seq),
        array_agg(first_at), array_agg(last_at),
        -- least() and greatest() leave null out: all of them far out, or none.
        array_agg(least((first_in at time zone 'UTC')::date, case when inside < events then today end)),
        array_agg(greatest((last_in at time zone 'UTC')::date, case when inside < events then today end)),
        array_agg(first_seq), min(first_seq) filter (where session is not null)
    into b_session, b_events, b_execs, b_last_seq, b_first_at, b_last_at, b_first_day, b_last_day, b_first_seq,
        least_seq
    from (
        select session, count(*) as events, count(*) filter (where vctl.is_users_exec(kind, head)) as execs, max(seq) as last_seq,
            min(seq) as first_seq,
            min(at) as first_at, max(at) as last_at,
            count(*) filter (where at >= oldest and at < newest) as inside,
            min(at) filter (where at >= oldest and at < newest) as first_in,
            max(at) filter (where at >= oldest and at < newest) as last_in
        from unnest(e_session, e_seq, e_at, e_kind, e_head) as e (session, seq, at, kind, head)
        group by session
    ) as summed;

    if least_seq < 1 or epoch > any (b_first_at) or beyond < any (b_last_at) then
        raise exception 'an event has a number below 1, or a time outside of 1970 to 2262'
            using errcode = 'numeric_value_out_of_range';
    end if;

    -- What is of a session that is not known yet: its entry comes later, or never.
    insert into vctl.audit_session (id, host_id, boot_id, opened_at)
    select session, host_no, p_boot, min(at)
    from (
        select session, at from unnest(b_session, b_first_at) as e (session, at)
        union all
        select (e ->> 'id')::uuid, (e ->> 'closed_at')::timestamptz from unnest(p_closed) e
        union all
        select (e ->> 'session')::uuid, (e ->> 'from_at')::timestamptz from unnest(p_gaps) e
    ) as mentioned (session, at)
    where session is not null
    group by session
    on conflict (id) do nothing;

    select array_agg(distinct id) into mentioned
    from (
        select unnest(b_session)
        union all select (e ->> 'id')::uuid from unnest(p_opened || p_closed) e
        union all select (e ->> 'session')::uuid from unnest(p_gaps) e
    ) as ids (id);
    select id into foreign_session from vctl.audit_session
    where id = any (mentioned) and host_id <> host_no limit 1;
    if foreign_session is not null then
        raise exception 'session % is of another host than `%`', foreign_session, host
            using errcode = 'insufficient_privilege';
    end if;

    for missing_day in
        select generate_series(first_day, last_day, interval '1 day')::date
        from unnest(b_first_day, b_last_day) as d (first_day, last_day)
        union select today
    loop
        perform vctl.ensure_event_day(missing_day);
    end loop;

    -- Numbers that the session has had: its rows may have another day, because the day of a time that is far out is the
    -- day of its arrival.
    is_seen_before := exists (
        select from unnest(b_session, b_first_seq) as b (session, first_seq)
        join vctl.audit_session s on s.id = b.session
        where s.last_seq >= b.first_seq);

    begin
        if is_seen_before then
            raise unique_violation;
        end if;
        insert into vctl.kernel_event (day, session_id, seq, at, wall_offset, host_id, kind, pid, ppid, uid,
            status, exe, cwd, filename, argv, head)
        select case when at >= oldest and at < newest then (at at time zone 'UTC')::date else today end,
            session_id, seq, at, wall_offset, host_no, kind, pid, ppid, uid,
            status, exe, cwd, filename, argv, head
        from unnest(e_session, e_seq, e_at, e_wall, e_kind, e_pid, e_ppid, e_uid, e_status,
                    e_exe, e_cwd, e_filename, e_argv, e_head)
             as e (session_id, seq, at, wall_offset, kind, pid, ppid, uid, status,
                   exe, cwd, filename, argv, head);
    exception when unique_violation then
        -- The cursor keeps one history of a spool apart from the next. What two of them have in common
        -- is left out, and must not keep the host from going on.
        with stored as (
            insert into vctl.kernel_event (day, session_id, seq, at, wall_offset, host_id, kind, pid, ppid,
                uid, status, exe, cwd, filename, argv, head)
            select case when at >= oldest and at < newest then (at at time zone 'UTC')::date else today end,
                session_id, seq, at, wall_offset, host_no, kind, pid, ppid, uid,
                status, exe, cwd, filename, argv, head
            from unnest(e_session, e_seq, e_at, e_wall, e_kind, e_pid, e_ppid, e_uid, e_status,
                        e_exe, e_cwd, e_filename, e_argv, e_head)
                 as e (session_id, seq, at, wall_offset, kind, pid, ppid, uid, status,
                       exe, cwd, filename, argv, head)
            where not exists (
                select from vctl.audit_session s
                join vctl.kernel_event k on k.session_id = s.id and k.day between s.first_day and s.last_day
                where s.id = e.session_id and k.seq = e.seq)
            on conflict do nothing
            returning session_id, seq, at, kind, day, head
        )
        select array_agg(session_id), array_agg(events), array_agg(execs), array_agg(last_seq),
            array_agg(last_at), array_agg(first_day), array_agg(last_day)
        into b_session, b_events, b_execs, b_last_seq, b_last_at, b_first_day, b_last_day
        from (
            select session_id, count(*) as events, count(*) filter (where vctl.is_users_exec(kind, head)) as execs,
                max(seq) as last_seq, max(at) as last_at, min(day) as first_day, max(day) as last_day
            from stored group by session_id
        ) as summed;
    end;

    update vctl.audit_session s
    set stored = s.stored + c.stored, execs = s.execs + c.execs,
        last_seq = greatest(s.last_seq, c.last_seq),
        last_event_at = greatest(s.last_event_at, c.last_at),
        first_day = least(s.first_day, c.first_day), last_day = greatest(s.last_day, c.last_day),
        updated_at = now()
    from unnest(b_session, b_events, b_execs, b_last_seq, b_last_at, b_first_day, b_last_day)
         as c (session_id, stored, execs, last_seq, last_at, first_day, last_day)
    where s.id = c.session_id;

    update vctl.audit_session s
    set closed = c.entry::json, closed_wall = c.wall, closed_at = c.closed_at, produced = c.produced,
        updated_at = now()
    from (
        select distinct on (c.id) c.*, vctl.never_recorded_until(c.entry::json) as never
        from unnest(p_closed) with ordinality as entries (e, nr),
             json_to_record(e) as c (id uuid, closed_at timestamptz, wall bigint, produced bigint, entry text)
        -- The end of what was recorded, else the last try to record it.
        order by c.id, never desc nulls first, nr
    ) as c
    where s.id = c.id and not vctl.began_after(s.opened, c.entry::json)
      and (s.closed is null
           or case when c.never is null then vctl.never_recorded_until(s.closed) is not null
                   else c.never > vctl.never_recorded_until(s.closed) end);

    insert into vctl.audit_gap (host_id, boot_id, session_id, cause, events, from_at, to_at, gap, sha256)
    select host_no, g.boot_id, g.session, vctl.cut(g.cause, 64), g.events, g.from_at, g.to_at, g.entry::json,
        sha256(convert_to(g.entry, 'UTF8'))
    from unnest(p_gaps) as entries (e),
         json_to_record(e) as g (session uuid, boot_id uuid, cause text, events bigint, from_at timestamptz,
             to_at timestamptz, entry text)
    on conflict (host_id, boot_id, sha256) do nothing;

    -- A batch that is sent again moves no cursor, and is not counted again.
    if p_to <> p_from then
        update vctl.ingest_cursor c
        set segment = p_to[1], "offset" = p_to[2], batch_check = p_to[3], batches = batches + 1,
            events = events + cardinality(e_seq), updated_at = now(), boot_id = p_boot,
            stored_until = greatest(case when c.boot_id = p_boot then c.stored_until end, (
                -- In numeric: a wrong clock must not overflow.
                select least(greatest(extract(epoch from at) * 1000000000 - wall, 0), 9223372036854775807)::bigint
                from unnest(e_at, e_wall) as e (at, wall) order by at desc limit 1))
        where host_id = host_no and spool_id = p_spool;
    end if;
    cursor_segment := p_to[1];
    cursor_offset := p_to[2];
    cursor_check := p_to[3];
end
$$;
