-- A loss in JetStream across a reboot: the last stored event of a boot, and the clock of that boot. A cursor has one boot and
-- one clock, so the end of an earlier boot was in no gap.

-- Returns the time of the last stored event of sessions of a boot, and that boot's clock: nanoseconds from its own time to
-- the wall time. No row, if there is none. Events of no session and all but the newest sessions of the host are not looked
-- at, so a gap that begins there may contain some that are stored, and never leaves out one that is missing.
create function vctl.stream_stored_at_v1(p_host text, p_spool uuid, p_boot uuid, out stored_at timestamptz, out wall bigint)
    returns setof record
    language sql stable security definer
    set search_path = vctl, pg_temp
as $$
    select greatest(s.last_event_at, s.opened_at), s.opened_wall
    from (select boot_id, last_event_at, opened_at, opened_wall from vctl.audit_session
          where host_id = (select id from vctl.audit_host where hostname = vctl.stream_host(p_host, p_spool))
          -- No index has the boot.
          order by opened_at desc limit 10000) s
    where s.boot_id = p_boot and s.opened_wall is not null
    order by 1 desc limit 1
$$;

revoke all on function vctl.stream_stored_at_v1(text, uuid, uuid) from public;
grant execute on function vctl.stream_stored_at_v1(text, uuid, uuid) to vctl_stream_ingest;
