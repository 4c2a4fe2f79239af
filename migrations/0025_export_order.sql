-- The order in which gaps and accesses arrive, so that an export sends each of them once. As for sessions in
-- 0019_arrivals, only the id of the transaction gives it: a batch that began earlier may commit later.

alter table vctl.audit_gap
    -- The transaction that stored it; null for gaps from before this migration.
    add column arrived xid8,
    add column arrived_at timestamptz;
create index on vctl.audit_gap (arrived);

create trigger note_arrival before insert on vctl.audit_gap
    for each row execute function vctl.note_arrival();

-- A row for each insert and each end of an access. A table of its own: only after an insert does its transaction
-- surely have an id, and an access has two changes.
create table vctl.access_change (
    id         bigint      generated always as identity primary key,
    access_id  bigint      not null references vctl.access_log on delete cascade,
    what       text        not null check (what in ('opened', 'ended')),
    arrived    xid8        not null,
    arrived_at timestamptz not null default now(),
    unique (access_id, what)
);
create index on vctl.access_change (arrived);
grant select on vctl.access_change to vctl_audit_ro;

create function vctl.note_access_change() returns trigger
    language plpgsql security definer
    set search_path = vctl, pg_temp
as $$
begin
    -- A row that the owner of the schema repairs by hand may change a second time.
    insert into vctl.access_change (access_id, what, arrived)
    values (new.id, tg_argv[0], pg_current_xact_id_if_assigned())
    on conflict (access_id, what) do nothing;
    return null;
end
$$;
revoke all on function vctl.note_access_change() from public;

create trigger note_opened after insert on vctl.access_log
    for each row execute function vctl.note_access_change('opened');
create trigger note_ended after update of result on vctl.access_log
    for each row when (old.result = 'open' and new.result <> 'open')
    execute function vctl.note_access_change('ended');
