-- Nobody shortens what is kept, and nobody but the owner of the schema can take the locks that it works with.
--
-- How long rows are kept is counted from when they got here, by this server's clock: a host or a client states
-- the times that are shown, and must not end the life of its own record with them. And whoever may prune may
-- not take away everything: the least periods stand in a table that only the owner of the schema writes.
--
-- An advisory lock can be taken by every login, with any key. A partition is made under the lock of a table on
-- which nobody has a right.

-- The least periods that a prune may be asked for. Change them as vctl_owner:
-- update vctl.retention_floor set event_days = 3;
create table vctl.retention_floor (
    only_row     boolean primary key default true check (only_row),
    event_days   integer not null default 7 check (event_days >= 1),
    session_days integer not null default 90,
    access_days  integer not null default 365,
    check (session_days >= event_days and access_days >= session_days)
);
insert into vctl.retention_floor default values;

create or replace function vctl.check_retention(p_event_days integer, p_session_days integer, p_access_days integer)
    returns void
    language plpgsql stable
    set search_path = vctl, pg_temp
as $$
declare
    least_days vctl.retention_floor;
begin
    if p_event_days < 1 or p_session_days < p_event_days or p_access_days < p_session_days
        or num_nulls(p_event_days, p_session_days, p_access_days) > 0 then
        raise exception 'keep events at least a day, sessions as long as events, accesses as long as sessions'
            using errcode = 'invalid_parameter_value';
    end if;
    select * into strict least_days from vctl.retention_floor;
    if p_event_days < least_days.event_days or p_session_days < least_days.session_days
        or p_access_days < least_days.access_days then
        raise exception 'periods of %, % and % days are shorter than the least ones: events are kept for % days, '
            'sessions for % and accesses for %', p_event_days, p_session_days, p_access_days,
            least_days.event_days, least_days.session_days, least_days.access_days
            using errcode = 'invalid_parameter_value',
                  hint = 'only the owner of the schema changes the least periods: vctl.retention_floor';
    end if;
end
$$;

-- When a gap got here; null for one from before this.
alter table vctl.audit_gap add column stored_at timestamptz;
alter table vctl.audit_gap alter column stored_at set default now();

-- `updated_at` is when the host's last word on a session got here.
create or replace function vctl.old_sessions(p_event_days integer, p_session_days integer, p_most bigint)
    returns setof uuid
    language sql stable
    set search_path = vctl, pg_temp
as $$
    select id from vctl.audit_session
    where closed_at is not null and updated_at < now() - make_interval(days => p_session_days)
      and coalesce(last_day, '-infinity') < (now() at time zone 'UTC')::date - p_event_days
    limit p_most
$$;

create or replace function vctl.old_gaps(p_session_days integer, p_most bigint) returns setof bigint
    language sql stable
    set search_path = vctl, pg_temp
as $$
    select g.id from vctl.audit_gap g
    where g.session_id is null and coalesce(g.stored_at, g.to_at) < now() - make_interval(days => p_session_days)
      and not exists (select from vctl.audit_session s
                      where s.host_id = g.host_id and s.opened_at <= g.to_at
                        and coalesce(s.closed_at, 'infinity') >= g.from_at)
    limit p_most
$$;

create or replace function vctl.old_accesses(p_access_days integer, p_most bigint) returns setof bigint
    language sql stable
    set search_path = vctl, pg_temp
as $$
    select a.id from vctl.access_log a
    -- No row gets here before it was opened; the index is on `opened_at`.
    where a.opened_at < now() - make_interval(days => p_access_days)
      and a.recorded_at < now() - make_interval(days => p_access_days)
      and not exists (select from vctl.audit_session s
                      where s.cert_serial = a.cert_serial and s.ca_fingerprint = a.ca_fingerprint)
      and not exists (select from vctl.access_hop h
                      join vctl.audit_session s using (cert_serial, ca_fingerprint)
                      where h.access_id = a.id)
    limit p_most
$$;

-- Its lock is held by who makes a partition. It has no rows, and nobody has a right on it.
create table vctl.event_day_turn ();

create or replace function vctl.ensure_event_day(p_day date) returns void
    language plpgsql security definer
    set search_path = vctl, pg_temp
as $$
declare
    part text := format('kernel_event_%s', to_char(p_day, 'YYYYMMDD'));
begin
    if to_regclass('vctl.' || part) is not null then
        return;
    end if;
    lock table vctl.event_day_turn in exclusive mode;
    if to_regclass('vctl.' || part) is not null then
        return;
    end if;
    execute format('create table vctl.%I (like vctl.kernel_event including defaults including constraints)', part);
    execute format('alter table vctl.%I add check (day >= %L and day < %L)', part, p_day, p_day + 1);
    execute format('alter table vctl.kernel_event attach partition vctl.%I for values from (%L) to (%L)',
                   part, p_day, p_day + 1);
end
$$;
