-- Raises when something of 0032_recorded_again is missing. Changes nothing.
do $$
begin
    if not exists (select from pg_proc p
                   where p.oid::regproc::text = 'vctl.store_batch' and p.prosrc like '%began_after(excluded.opened%') then
        raise exception '0032_recorded_again: a session that is recorded after all stays ended';
    end if;
    if vctl.began_after('{"marked_at": 8}', '{"at": 7, "reason": "last_process_ended"}')
        or not vctl.began_after('{"marked_at": 8}', '{"at": 7, "reason": "never_recorded"}')
        or vctl.began_after('{"marked_at": 6}', '{"at": 7, "reason": "never_recorded"}') then
        raise exception '0032_recorded_again: the end of a session is compared with another clock';
    end if;
    if vctl.began_after('{"key_id": "\u0000", "marked_at": 1e9}', '{"at": 7, "reason": "never_recorded"}')
        or not vctl.began_after('{"key_id": "\u0000\ud800", "marked_at": 8}', '{"at": 7, "reason": "never_recorded"}')
        or vctl.without_escapes('{"a": "\\u0000", "b": 7}') ->> 'b' <> '7' then
        raise exception '0032_recorded_again: an entry with a NUL stops the batches of its host';
    end if;
    if exists (select from pg_proc p
               where p.oid::regproc::text in ('vctl.login_contradictions', 'vctl.doubtful_logins_v1')
                 and p.prosrc not like '%vctl.without_escapes(%')
        or not has_function_privilege('vctl_audit_ro', 'vctl.without_escapes(json)', 'execute') then
        raise exception '0032_recorded_again: an entry with a NUL stops those who read the access log';
    end if;
    if not exists (select from pg_proc p
                   where p.oid::regproc::text = 'vctl.store_batch' and p.prosrc like '%ensure_event_day(today)%'
                     and p.prosrc like '%today - has_yesterday%') then
        raise exception '0032_recorded_again: an event is pruned by the time that its host states';
    end if;
    if not exists (select from pg_proc p
                   where p.oid::regproc::text = 'vctl.prepare_days_v1' and 'lock_timeout=5s' = any (p.proconfig)) then
        raise exception '0032_recorded_again: a pruner waits without end for the lock of a new day';
    end if;
    if (select count(*) from pg_trigger
        where tgrelid = 'vctl.audit_session'::regclass and tgenabled = 'O'
          and (tgname = 'note_opening' and pg_get_triggerdef(oid) like '%new.closed IS NULL%'
               or tgname in ('note_late_event', 'note_other_end'))) <> 3 then
        raise exception '0032_recorded_again: a session that is open again does not arrive again';
    end if;
end
$$;
