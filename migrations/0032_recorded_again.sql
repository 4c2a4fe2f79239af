-- A session that could not be recorded at first, and was recorded later. Its host wrote that it has ended (`never_recorded`:
-- a map of the kernel was full, or the disk was slow), and the login went on without its stamp. Then the agent opened the
-- session again. The central store kept the first end for ever: such a session was in no list of live sessions, no request
-- could end it, and its own end was left out.
--
-- And three limits on what a host can do with its own records:
-- * An entry with a NUL or half a surrogate pair anywhere stopped every query that looked into it.
-- * Events were deleted by the day that the host stated, not by that of their arrival.
-- * A host could hold the lock under which partitions are made, by the name of a day that has none.

-- Returns the entry with its Unicode escapes as plain text, for queries of numbers and plain words in it.
-- `->` and `->>` decode the whole entry, and fail on `\u0000` or a lone surrogate anywhere in it. `\/` is JSON for `/`,
-- so the result is JSON also where a backslash is before the escape.
create function vctl.without_escapes(entry json) returns json
    language sql immutable parallel safe
as $$
    select replace(entry::text, E'\\u', E'\\/u')::json
$$;
revoke all on function vctl.without_escapes(json) from public;
grant execute on function vctl.without_escapes(json) to vctl_audit_ro;

-- As in 0024_host_rename, for each entry.
create or replace function vctl.login_contradictions(p_session uuid) returns table (words text[])
    language sql stable rows 1
as $$
    select case
        when s.vault_user is not null then array_remove(array[
            case when own.count > 0 and not own.host then 'host' end,
            case when not own.account then 'account' end,
            case when not own.in_time then 'access_time' end,
            case when not own.port then 'source_port' end,
            case when not own.address then 'source_address' end,
            case when not valid.now then 'validity' end,
            case when twins.other_host then 'two_hosts' end,
            case when twins.same_host and own.count > 0 then 'second_session' end,
            case when twins.other_name then 'serial_reused' end
        ], null)
        when s.key_id is not null and (
            exists (select from vctl.audit_session p where p.vault_user = s.key_id)
            or exists (select from vctl.audit_session p where vctl.person(p.vault_user) = s.key_id)
        ) then array['unknown_ca']
        else '{}'::text[]
    end
    from vctl.audit_session s
    join vctl.audit_host h on h.id = s.host_id
    cross join lateral (
        select (vctl.without_escapes(s.opened) -> 'source_port')::text as port,
            (vctl.without_escapes(s.opened) -> 'auth' -> 'certificate' -> 'valid_after')::text as valid_after,
            (vctl.without_escapes(s.opened) -> 'auth' -> 'certificate' -> 'valid_before')::text as valid_before
    ) entry
    cross join lateral (select case when entry.port ~ '^[0-9]{1,5}$' then entry.port end as port) seen
    -- Rows of the person alone: any person may name any serial in a row.
    cross join lateral (
        select count(*) as count, bool_or(r.host) as host, bool_or(r.account) as account,
            bool_or(r.in_time) as in_time, bool_or(r.port) as port, bool_or(r.address) as address
        from (
            select
                case when a.hostname = host(a.target_addr) or a.hostname like '[%' then exists (
                    -- Connected to by address, past the inventory.
                    select from vctl.servers v
                    where v.hostname::text = h.hostname
                      and (v.ip = a.target_addr or a.target_addr = any (v.extra_ips)))
                else lower(a.hostname) = lower(h.hostname) or exists (
                    select from vctl.host_former_name f
                    where f.host_id = h.id and f.hostname = lower(a.hostname)
                      and (a.replayed or a.opened_at < f.until + interval '5 minutes')) end as host,
                a.login_user = s.login_user as account,
                a.replayed or (s.opened_at >= greatest(a.opened_at, '2000-01-01') - interval '5 minutes'
                    and s.opened_at <= coalesce(a.closed_at, 'infinity') + interval '5 minutes') as in_time,
                cardinality(a.jump_via) > 0 or seen.port = a.source_port::text or s.source_ip <> a.source_ip as port,
                cardinality(a.jump_via) > 0 or s.source_ip = a.source_ip as address
            from vctl.access_log a
            where a.cert_serial = s.cert_serial and a.ca_fingerprint = s.ca_fingerprint
              and a.vault_user = s.vault_user
            union all
            select lower(hop.hostname) = lower(h.hostname) or exists (
                    select from vctl.host_former_name f
                    where f.host_id = h.id and f.hostname = lower(hop.hostname)
                      and (a.replayed or a.opened_at < f.until + interval '5 minutes')), null,
                a.replayed or (s.opened_at >= greatest(a.opened_at, '2000-01-01') - interval '5 minutes'
                    and s.opened_at <= coalesce(a.closed_at, 'infinity') + interval '5 minutes'),
                hop.hop > 1 or seen.port = a.source_port::text or s.source_ip <> a.source_ip,
                hop.hop > 1 or s.source_ip = a.source_ip
            from vctl.access_hop hop join vctl.access_log a on a.id = hop.access_id
            where hop.cert_serial = s.cert_serial and hop.ca_fingerprint = s.ca_fingerprint
              and a.vault_user = s.vault_user
        ) r
    ) own
    cross join lateral (
        select bool_or(t.host_id <> s.host_id) as other_host, bool_or(t.host_id = s.host_id) as same_host,
            bool_or(t.key_id is distinct from s.key_id) as other_name
        from vctl.audit_session t
        where t.cert_serial = s.cert_serial and t.ca_fingerprint = s.ca_fingerprint
          and t.id <> s.id and t.opened is not null
    ) twins
    cross join lateral (
        select coalesce(s.opened_at >= to_timestamp(
                case when entry.valid_after ~ '^[0-9]{1,10}$' then entry.valid_after::float8 end) - interval '5 minutes', true)
           and coalesce(s.opened_at <= to_timestamp(
                case when entry.valid_before ~ '^[0-9]{1,10}$' then entry.valid_before::float8 end) + interval '5 minutes', true) as now
    ) valid
    where s.id = p_session
$$;

-- As in 0018_unreadable_certificates, for each entry.
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
            coalesce((vctl.without_escapes(opened) -> 'auth' -> 'unreadable_certificate')::text = 'true', false) as unreadable
        from vctl.audit_session
        where opened_at > now() - interval '7 days' and opened_at < now() + interval '1 day'
          and (key_id is not null or (vctl.without_escapes(opened) -> 'auth' -> 'unreadable_certificate')::text = 'true')
          and opened is not null
        order by opened_at desc
        limit 2000
    ) s
    join vctl.audit_host h on h.id = s.host_id
    cross join lateral vctl.login_contradictions(s.id) doubt
    group by h.hostname
$$;

-- Returns the number in a field of an entry of a host; null if it is none.
create function vctl.number_in(entry json, field text) returns numeric
    language sql immutable parallel safe
    set search_path = vctl, pg_temp
as $$
    select case when number ~ '^[0-9]{1,20}$' then number::numeric end
    from (select vctl.without_escapes(entry) ->> field) as field (number)
$$;
revoke all on function vctl.number_in(json, text) from public;

-- Returns the host's clock until which nothing of a session was recorded, by the entry of its end. Null for another end.
create function vctl.never_recorded_until(closed json) returns numeric
    language sql immutable parallel safe
    set search_path = vctl, pg_temp
as $$
    select case when vctl.without_escapes(closed) ->> 'reason' = 'never_recorded' then vctl.number_in(closed, 'at') end
$$;
revoke all on function vctl.never_recorded_until(json) from public;

-- Returns whether a session was recorded after an end that says that it never was.
create function vctl.began_after(opened json, closed json) returns boolean
    language sql immutable parallel safe
    set search_path = vctl, pg_temp
as $$
    select coalesce(vctl.number_in(opened, 'marked_at') > vctl.never_recorded_until(closed), false)
$$;
revoke all on function vctl.began_after(json, json) from public;

-- Followers and exports take what arrived since their last look (0019_arrivals). A session that is open again arrives
-- again, and so does one that gets events or its own end after an end.
drop trigger note_opening on vctl.audit_session;
create trigger note_opening before update of opened on vctl.audit_session
    for each row when (new.opened is not null and (old.opened is null or old.closed is not null and new.closed is null))
    execute function vctl.note_arrival();
create trigger note_late_event before update of stored on vctl.audit_session
    for each row when (old.closed is not null and new.stored > old.stored)
    execute function vctl.note_arrival();
create trigger note_other_end before update of closed on vctl.audit_session
    for each row when (old.closed is not null and new.closed is not null and vctl.never_recorded_until(new.closed) is null)
    execute function vctl.note_arrival();

-- As in 0006_retention, but it gives up when another transaction holds the lock, as prune_v1 does.
create or replace function vctl.prepare_days_v1(p_days integer) returns void
    language sql security definer
    set lock_timeout = '5s'
    set search_path = vctl, pg_temp
as $$
    select vctl.ensure_event_day((now() at time zone 'UTC')::date + d) from generate_series(0, least(p_days, 60)) d
$$;

-- As in 0030_stream_names, but for such sessions. A batch has several entries of one session in no order: the clock of the
-- host orders them, and a batch that is sent again changes nothing.
--
-- An event that is older than yesterday gets the day of its arrival: prune_v1 deletes whole days, and the time that a host
-- states must not shorten the life of its record. A day other than today is used only if its partition exists, because the
-- transaction that makes one holds a lock until its end, and the host decides when that is.
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
    -- Not now(): a host may have begun the transaction days ago.
    today   date := (clock_timestamp() at time zone 'UTC')::date;
    has_yesterday boolean := to_regclass('vctl.kernel_event_' || to_char(today - 1, 'YYYYMMDD')) is not null;
    has_tomorrow  boolean := to_regclass('vctl.kernel_event_' || to_char(today + 1, 'YYYYMMDD')) is not null;
    -- What is outside of these is stored under the day of its arrival.
    oldest  timestamptz := (today - has_yesterday::integer)::timestamp at time zone 'UTC';
    newest  timestamptz := (today + 1 + has_tomorrow::integer)::timestamp at time zone 'UTC';
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

    perform vctl.ensure_event_day(today);

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
