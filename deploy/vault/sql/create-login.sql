do $$
declare
    -- `<person>~<hash>`: the same for all purposes.
    person constant text := split_part('{{name}}', '/', 2);
    held integer;
begin
    -- Each login takes connections from everybody, and Vault counts leases only where it is bought. Ranges of
    -- names, so that the index is used: a centre has thousands of logins.
    select count(*) into held
    from unnest(array['ro', 'rw', 'id', 'audit-ro', 'audit-wr', 'pruner', 'migrator']) purpose
    join pg_catalog.pg_roles on rolname >= purpose || '/' || person || '/' and rolname < purpose || '/' || person || '0'
    where rolvaliduntil > now();
    if held >= LOGINS then
        raise exception '`%` has % logins, and at most LOGINS at a time', person, held
            using errcode = 'too_many_connections', hint = 'end commands that run, or wait for their leases to end';
    end if;
    create role "{{name}}" login password '{{password}}' valid until '{{expiration}}'
        connection limit 2 in role GROUP;
-- In capitals: by that word Vault knows a text that it must not cut at its semicolons.
END
$$
