-- A rename to the name of an earlier host deletes the row of that host if it has no records. Its former names are records
-- too. Without this trigger the foreign key refuses the deletion, with `permission denied` as the only reason.
create function vctl.refuse_former_names_left() returns trigger
    language plpgsql security definer
    set search_path = vctl, pg_temp
as $$
begin
    if exists (select from vctl.host_former_name where host_id = old.id) then
        raise exception 'there are records of an earlier host `%`, and records of two hosts are never joined', old.hostname
            using errcode = 'VC003', hint = 'choose another name';
    end if;
    return old;
end
$$;
revoke all on function vctl.refuse_former_names_left() from public;
create trigger refuse_former_names_left before delete on vctl.audit_host
    for each row execute function vctl.refuse_former_names_left();
