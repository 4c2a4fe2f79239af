-- What hosts recorded: sessions, their events, and what is missing.
--
-- Text that a host recorded is hostile: it is kept exactly, as bytea or as the JSON the agent wrote,
-- and escaped by whoever shows it. `json`, not `jsonb`: that has no way to hold a NUL.

create table vctl.audit_session (
    -- Of the agent's making; its low half is the session's mark in the kernel.
    id              uuid primary key,
    host_id         integer     not null references vctl.audit_host,
    boot_id         uuid        not null,
    -- The journal entries as the agent wrote them; null while only events of it are known.
    opened          json,
    closed          json,
    -- Nanoseconds to add to the boot clock for wall time, when it was opened and when closed.
    opened_wall     bigint,
    closed_wall     bigint,
    -- Taken out of the entries, to search by. A NUL in them reads as U+FFFD here.
    opened_at       timestamptz not null,
    closed_at       timestamptz,
    login_user      text,
    service         text,
    origin          text,
    from_session    uuid,
    source_ip       inet,
    stamp           text,
    ca_fingerprint  text,
    cert_serial     vctl.cert_serial,
    key_id          text,
    -- The key id, where the CA is one of ours: our Vault wrote it, and neither host nor user could.
    vault_user      text,
    -- Counted by the kernel; null while open, and when its counters were gone.
    produced        bigint,
    -- Counted here.
    stored          bigint      not null default 0,
    execs           bigint      not null default 0,
    last_seq        bigint      not null default 0,
    last_event_at   timestamptz,
    -- Partitions of kernel_event that hold something of it.
    first_day       date,
    last_day        date,
    updated_at      timestamptz not null default now()
);
create index on vctl.audit_session (opened_at desc);
create index on vctl.audit_session (cert_serial, ca_fingerprint);
create index on vctl.audit_session (host_id, opened_at desc);
create index on vctl.audit_session (vault_user, opened_at desc);
-- By the name that is shown as well: `vctl session --user albert`.
create index on vctl.audit_session (vctl.person(vault_user), opened_at desc);
create index on vctl.audit_session (host_id) where closed_at is null;

create table vctl.audit_gap (
    id         bigint generated always as identity primary key,
    host_id    integer     not null references vctl.audit_host,
    boot_id    uuid        not null,
    -- Null: it cannot be said whose events they were, so it counts against every session of its time.
    session_id uuid        references vctl.audit_session on delete cascade,
    cause      text        not null,
    -- Null when that cannot be known.
    events     bigint,
    from_at    timestamptz not null,
    to_at      timestamptz not null,
    gap        json        not null,
    -- An entry is repeated in later segments of the spool, word for word.
    sha256     bytea       not null,
    unique (host_id, boot_id, sha256)
);
create index on vctl.audit_gap (session_id);
create index on vctl.audit_gap (host_id, boot_id) where session_id is null;

-- Partitioned by day, so that retention drops tables and never deletes rows.
create table vctl.kernel_event (
    -- The UTC day of `at`; the day of its arrival when the host's clock is far out, so that there is a
    -- partition for every row.
    day         date        not null,
    -- Null for an event of no session (`capture: all`).
    session_id  uuid,
    -- Position in the session: 1, 2, 3, ...
    seq         bigint      not null,
    at          timestamptz not null,
    wall_offset bigint      not null,
    host_id     integer     not null,
    -- wire::KIND_*: 1 exec, 2 exit, 3 failed exec, 4 cgroup move.
    kind        smallint    not null,
    pid         integer     not null,
    ppid        integer,
    -- Effective; 32 bits unsigned.
    uid         bigint,
    -- exit: as wait(2) gives it; failed exec: errno.
    status      integer,
    exe         bytea,
    cwd         bytea,
    filename    bytea,
    -- As it lies in memory: each item ends with NUL.
    argv        bytea,
    -- The fixed part of the wire record, version 1, little endian; with exe, cwd, filename and argv
    -- behind it, it is the record that the spool holds.
    head        bytea       not null
) partition by range (day);
-- Every question is for a session. Unique, so that what comes a second time (a spool put back from a
-- copy, a batch written twice after damage) is left out.
create unique index on vctl.kernel_event (session_id, seq, day);

-- Where each spool has got to. A spool that is lost and made anew has another id and starts again.
create table vctl.ingest_cursor (
    host_id    integer     not null references vctl.audit_host,
    spool_id   uuid        not null,
    segment    bigint      not null,
    "offset"   bigint      not null,
    -- Of the batch that ends there: another history of the spool has another one at this place.
    batch_check bigint     not null,
    batches    bigint      not null default 0,
    events     bigint      not null default 0,
    updated_at timestamptz not null default now(),
    primary key (host_id, spool_id)
);

-- Which machines reported as which host: two at a time means that a credential was copied.
create table vctl.ingest_machine (
    host_id       integer     not null references vctl.audit_host,
    machine_id    uuid        not null,
    boot_id       uuid        not null,
    agent_version text        not null,
    address       inet,
    first_seen    timestamptz not null default now(),
    last_seen     timestamptz not null default now(),
    primary key (host_id, machine_id)
);

-- Makes the partition of a day, when it is not there. Attached, because creating it as a partition
-- would wait for every reader and writer of the table.
create function vctl.ensure_event_day(p_day date) returns void
    language plpgsql security definer
    set search_path = vctl, pg_temp
as $$
declare
    part text := format('kernel_event_%s', to_char(p_day, 'YYYYMMDD'));
begin
    if to_regclass('vctl.' || part) is not null then
        return;
    end if;
    perform pg_advisory_xact_lock(hashtext('vctl.ensure_event_day'));
    if to_regclass('vctl.' || part) is not null then
        return;
    end if;
    execute format('create table vctl.%I (like vctl.kernel_event including defaults including constraints)', part);
    execute format('alter table vctl.%I add check (day >= %L and day < %L)', part, p_day, p_day + 1);
    execute format('alter table vctl.kernel_event attach partition vctl.%I for values from (%L) to (%L)',
                   part, p_day, p_day + 1);
end
$$;
revoke all on function vctl.ensure_event_day(date) from public;

select vctl.ensure_event_day(current_date + d) from generate_series(0, 7) d;

grant select on vctl.audit_host, vctl.audit_session, vctl.audit_gap, vctl.kernel_event,
                vctl.ingest_cursor, vctl.ingest_machine
    to vctl_audit_ro;
-- `vctl fleet` is for everybody who may see the inventory; it shows no event.
grant select on vctl.audit_host, vctl.ingest_cursor, vctl.ingest_machine to vctl_ro;
