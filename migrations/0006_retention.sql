-- What is too old goes: events first, then sessions, then accesses.
--
-- Events go by whole days. A session goes when it has ended and none of its events is left, a gap of
-- no session with the sessions of its time, an access when no session of its certificates is left.
-- Of what is still open, nobody can say that it is over: it stays.

-- Rows to delete in one call, so that no transaction is long.
create function vctl.prune_step() returns integer
    language sql immutable
    set search_path = pg_catalog, pg_temp
return 10000;

create function vctl.check_retention(p_event_days integer, p_session_days integer, p_access_days integer)
    returns void
    language plpgsql immutable
    set search_path = pg_catalog, pg_temp
as $$
begin
    if p_event_days < 1 or p_session_days < p_event_days or p_access_days < p_session_days
        or num_nulls(p_event_days, p_session_days, p_access_days) > 0 then
        raise exception 'keep events at least a day, sessions as long as events, accesses as long as sessions'
            using errcode = 'invalid_parameter_value';
    end if;
end
$$;

-- The days that hold events, oldest first. Each is one partition.
create function vctl.event_days(out day date, out name text, out bytes bigint, out events_estimate bigint)
    returns setof record
    language sql stable
    set search_path = vctl, pg_temp
as $$
    select to_date(right(c.relname, 8), 'YYYYMMDD'), c.relname::text, pg_total_relation_size(c.oid),
        greatest(c.reltuples, 0)::bigint
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'vctl.kernel_event'::regclass and c.relname ~ '^kernel_event_[0-9]{8}$'
    order by c.relname
$$;

-- Which rows are too old, once for the plan and for the deed. p_most null: all of them.
create function vctl.old_sessions(p_event_days integer, p_session_days integer, p_most bigint) returns setof uuid
    language sql stable
    set search_path = vctl, pg_temp
as $$
    select id from vctl.audit_session
    where closed_at < now() - make_interval(days => p_session_days)
      and coalesce(last_day, '-infinity') < (now() at time zone 'UTC')::date - p_event_days
    limit p_most
$$;

create function vctl.old_gaps(p_session_days integer, p_most bigint) returns setof bigint
    language sql stable
    set search_path = vctl, pg_temp
as $$
    select g.id from vctl.audit_gap g
    where g.session_id is null and g.to_at < now() - make_interval(days => p_session_days)
      and not exists (select from vctl.audit_session s
                      where s.host_id = g.host_id and s.opened_at <= g.to_at
                        and coalesce(s.closed_at, 'infinity') >= g.from_at)
    limit p_most
$$;

create function vctl.old_accesses(p_access_days integer, p_most bigint) returns setof bigint
    language sql stable
    set search_path = vctl, pg_temp
as $$
    select a.id from vctl.access_log a
    where a.opened_at < now() - make_interval(days => p_access_days)
      and not exists (select from vctl.audit_session s
                      where s.cert_serial = a.cert_serial and s.ca_fingerprint = a.ca_fingerprint)
      and not exists (select from vctl.access_hop h
                      join vctl.audit_session s using (cert_serial, ca_fingerprint)
                      where h.access_id = a.id)
    limit p_most
$$;

-- What prune_v1 would take away now: `partition` with its bytes, then the number of `sessions`, `gaps`
-- and `accesses`. Sessions that go only once others have gone are not counted.
create function vctl.prune_plan_v1(p_event_days integer, p_session_days integer, p_access_days integer,
    out what text, out name text, out amount bigint) returns setof record
    language plpgsql stable security definer
    set search_path = vctl, pg_temp
as $$
begin
    perform vctl.check_retention(p_event_days, p_session_days, p_access_days);
    return query
        select 'partition', d.name, d.bytes from vctl.event_days() d
        where d.day < (now() at time zone 'UTC')::date - p_event_days
        union all select 'sessions', null, count(*) from vctl.old_sessions(p_event_days, p_session_days, null)
        union all select 'gaps', null, count(*) from vctl.old_gaps(p_session_days, null)
        union all select 'accesses', null, count(*) from vctl.old_accesses(p_access_days, null);
end
$$;

-- Takes away a part of what is too old, and says what: all old partitions, and when there are none, at
-- most prune_step() rows of each kind. Call it until it says nothing.
create function vctl.prune_v1(p_event_days integer, p_session_days integer, p_access_days integer,
    out what text, out name text, out amount bigint) returns setof record
    language plpgsql security definer
    -- Dropping a partition waits for its readers, and whoever comes behind waits for it: better to be
    -- called again.
    set lock_timeout = '5s'
    set search_path = vctl, pg_temp
as $$
declare
    part record;
begin
    perform vctl.check_retention(p_event_days, p_session_days, p_access_days);
    for part in
        select * from vctl.event_days() d where d.day < (now() at time zone 'UTC')::date - p_event_days
    loop
        execute format('drop table vctl.%I', part.name);
        what := 'partition'; name := part.name; amount := part.bytes;
        return next;
    end loop;
    -- Not while the lock on all events is held: ingest waits for it.
    if found then
        return;
    end if;

    name := null;
    what := 'sessions';
    delete from vctl.audit_session
    where id in (select * from vctl.old_sessions(p_event_days, p_session_days, vctl.prune_step()));
    get diagnostics amount = row_count;
    if amount > 0 then return next; end if;

    what := 'gaps';
    delete from vctl.audit_gap where id in (select * from vctl.old_gaps(p_session_days, vctl.prune_step()));
    get diagnostics amount = row_count;
    if amount > 0 then return next; end if;

    what := 'accesses';
    delete from vctl.access_log where id in (select * from vctl.old_accesses(p_access_days, vctl.prune_step()));
    get diagnostics amount = row_count;
    if amount > 0 then return next; end if;
end
$$;

-- Makes the partitions of the days to come.
create function vctl.prepare_days_v1(p_days integer) returns void
    language sql security definer
    set search_path = vctl, pg_temp
as $$
    select vctl.ensure_event_day((now() at time zone 'UTC')::date + d) from generate_series(0, least(p_days, 60)) d
$$;

revoke all on function vctl.prune_step(), vctl.check_retention(integer, integer, integer), vctl.event_days(),
    vctl.old_sessions(integer, integer, bigint), vctl.old_gaps(integer, bigint),
    vctl.old_accesses(integer, bigint),
    vctl.prune_plan_v1(integer, integer, integer), vctl.prune_v1(integer, integer, integer),
    vctl.prepare_days_v1(integer) from public;
grant execute on function vctl.event_days() to vctl_audit_ro, vctl_pruner;
grant execute on function vctl.prune_plan_v1(integer, integer, integer) to vctl_audit_ro, vctl_pruner;
grant execute on function vctl.prune_v1(integer, integer, integer), vctl.prepare_days_v1(integer)
    to vctl_pruner;
