-- Raises when something of 0019_arrivals is missing. Changes nothing.
do $$
begin
    if (select count(*) from pg_attribute where attrelid = 'vctl.audit_session'::regclass
        and attname in ('arrived', 'arrived_at')) <> 2
       or (select count(*) from pg_trigger where tgrelid = 'vctl.audit_session'::regclass
           and tgname in ('note_arrival', 'note_opening') and tgenabled = 'O') <> 2 then
        raise exception '0019_arrivals: sessions do not record when they arrive';
    end if;
    if not exists (select from pg_index where indrelid = 'vctl.audit_session'::regclass
                   and pg_get_indexdef(indexrelid) like '%(arrived)') then
        raise exception '0019_arrivals: a follower reads the whole of audit_session every second';
    end if;
end
$$;
