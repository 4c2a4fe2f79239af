-- A loss in JetStream across a reboot: the wall time of the last stored event, by boot. A cursor has one boot and one clock,
-- so the end of an earlier boot was in no gap.

-- Returns the time of the last stored event of sessions of a boot; null if there is none. Events of no session are not
-- looked at, so a gap that begins there may contain some that are stored, and never leaves out one that is missing.
create function vctl.stream_stored_at_v1(p_host text, p_spool uuid, p_boot uuid) returns timestamptz
    language sql stable security definer
    set search_path = vctl, pg_temp
as $$
    select max(greatest(s.last_event_at, s.opened_at)) from vctl.audit_session s
    where s.host_id = (select id from vctl.audit_host where hostname = vctl.stream_host(p_host, p_spool))
      and s.boot_id = p_boot
$$;

revoke all on function vctl.stream_stored_at_v1(text, uuid, uuid) from public;
grant execute on function vctl.stream_stored_at_v1(text, uuid, uuid) to vctl_stream_ingest;
