-- The order in which sessions arrive, so that `vctl session --follow` misses none. Neither a sequence nor a
-- time gives it: a batch that began earlier may commit later. The id of the transaction does, because a
-- snapshot says which transactions were still running.

alter table vctl.audit_session
    -- Of the transaction that stored the opening; null for sessions from before this migration.
    add column arrived xid8,
    add column arrived_at timestamptz;
create index on vctl.audit_session (arrived);

create function vctl.note_arrival() returns trigger
    language plpgsql
    set search_path = vctl, pg_temp
as $$
begin
    -- No login may call what gives a transaction its id. A lock on the row's host, which the foreign key takes
    -- anyway, gives it one.
    if pg_current_xact_id_if_assigned() is null then
        perform from vctl.audit_host where id = new.host_id for key share;
    end if;
    new.arrived := pg_current_xact_id_if_assigned();
    new.arrived_at := now();
    return new;
end
$$;
revoke all on function vctl.note_arrival() from public;

create trigger note_arrival before insert on vctl.audit_session
    for each row execute function vctl.note_arrival();
-- Of a session whose events came before its opening, the opening is what a follower waits for.
create trigger note_opening before update of opened on vctl.audit_session
    for each row when (old.opened is null and new.opened is not null)
    execute function vctl.note_arrival();
