do $$
declare
    held integer;
begin
    -- An agent has one login for each purpose, and a second one while it replaces the first.
    select count(*) into held
    from vctl.db_login join pg_catalog.pg_roles on rolname = login
    where hostname = 'HOST' and rolvaliduntil > now();
    if held >= 16 then
        raise exception 'host `HOST` has % logins, and at most 16 at a time', held
            using errcode = 'too_many_connections';
    end if;
    create role "{{name}}" login password '{{password}}' valid until '{{expiration}}'
        connection limit 2 in role GROUP;
    insert into vctl.db_login (login, hostname) values ('{{name}}', 'HOST');
-- In capitals: Vault does not split a statement with this word at its semicolons.
END
$$
