-- Raises when something of 0027_former_names_kept is missing. Changes nothing.
do $$
begin
    if not coalesce((select prosecdef and proconfig is not null from pg_proc
                     where oid = to_regprocedure('vctl.refuse_former_names_left()')), false) then
        raise exception '0027_former_names_kept: no `security definer` function with a search path';
    end if;
    if not exists (
        select from pg_trigger
        where tgrelid = 'vctl.audit_host'::regclass and tgname = 'refuse_former_names_left' and tgenabled = 'O'
    ) then
        raise exception '0027_former_names_kept: a host with former names can be deleted';
    end if;
end
$$;
