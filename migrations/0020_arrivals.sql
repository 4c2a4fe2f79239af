-- The order in which sessions arrive, so that `vctl session --follow` misses none. Neither a sequence nor a
-- time gives it: a batch that began earlier may commit later. The id of the transaction does, because a
-- snapshot says which transactions were still running.

alter table vctl.audit_session
    -- Of the transaction that stored the opening; null for sessions from before this migration.
    add column arrived xid8,
    add column arrived_at timestamptz;
alter table vctl.audit_session
    alter column arrived set default pg_current_xact_id(),
    alter column arrived_at set default now();
create index on vctl.audit_session (arrived);

-- Of a session whose events came before its opening, the opening is what a follower waits for.
create function vctl.note_arrival() returns trigger
    language plpgsql
    set search_path = vctl, pg_temp
as $$
begin
    new.arrived := pg_current_xact_id();
    new.arrived_at := now();
    return new;
end
$$;
revoke all on function vctl.note_arrival() from public;

create trigger note_arrival before update of opened on vctl.audit_session
    for each row when (old.opened is null and new.opened is not null)
    execute function vctl.note_arrival();
