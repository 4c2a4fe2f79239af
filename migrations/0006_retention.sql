-- What is too old goes: events first, then sessions, then accesses.

-- Drops what is older, and returns what it dropped; with p_dry_run what it would. Events go by whole
-- days. A session goes when it has ended and none of its events is left, an access when no session
-- of its certificate is.
create function vctl.prune_v1(p_event_days integer, p_session_days integer, p_access_days integer, p_dry_run boolean,
    out what text, out name text, out amount bigint) returns setof record
    language plpgsql security definer
    -- Dropping a partition waits for its readers, and whoever comes behind waits for it: better to be
    -- called again.
    set lock_timeout = '5s'
    set search_path = vctl, pg_temp
as $$
declare
    part record;
    today date := (now() at time zone 'UTC')::date;
begin
    if p_event_days < 1 or p_session_days < p_event_days or p_access_days < p_session_days then
        raise exception 'keep events at least a day, sessions as long as events, accesses as long as sessions'
            using errcode = 'invalid_parameter_value';
    end if;
    for part in
        select c.relname::text as relname, pg_total_relation_size(c.oid) as bytes
        from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'vctl.kernel_event'::regclass
          and to_date(right(c.relname, 8), 'YYYYMMDD') < today - p_event_days
        order by c.relname
    loop
        if not p_dry_run then
            execute format('drop table vctl.%I', part.relname);
        end if;
        what := 'partition'; name := part.relname; amount := part.bytes;
        return next;
    end loop;

    what := 'sessions'; name := null;
    if p_dry_run then
        select count(*) into amount from vctl.audit_session
        where closed_at < now() - make_interval(days => p_session_days)
          and coalesce(last_day, '-infinity') < today - p_event_days;
    else
        delete from vctl.audit_session
        where closed_at < now() - make_interval(days => p_session_days)
          and coalesce(last_day, '-infinity') < today - p_event_days;
        get diagnostics amount = row_count;
    end if;
    return next;

    what := 'accesses';
    if p_dry_run then
        select count(*) into amount from vctl.access_log
        where opened_at < now() - make_interval(days => p_access_days);
    else
        delete from vctl.access_log where opened_at < now() - make_interval(days => p_access_days);
        get diagnostics amount = row_count;
    end if;
    return next;
end
$$;

-- Makes the partitions of the days to come.
create function vctl.prepare_days_v1(p_days integer) returns void
    language sql security definer
    set search_path = vctl, pg_temp
as $$
    select vctl.ensure_event_day((now() at time zone 'UTC')::date + d) from generate_series(0, least(p_days, 60)) d
$$;

revoke all on function vctl.prune_v1(integer, integer, integer, boolean), vctl.prepare_days_v1(integer) from public;
grant execute on function vctl.prune_v1(integer, integer, integer, boolean), vctl.prepare_days_v1(integer)
    to vctl_pruner;
