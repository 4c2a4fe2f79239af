do $$
declare
    -- `<person>~<hash>`: the same for all purposes.
    person constant text := split_part('{{name}}', '/', 2);
    held integer;
begin
    -- All logins share the connections, and only the paid edition of Vault counts leases. Ranges of names let
    -- Postgres use the index: a central store has thousands of logins.
    select count(*) into held
    from unnest(array['ro', 'rw', 'id', 'audit-ro', 'audit-wr', 'pruner', 'migrator', 'end', 'revoke']) purpose
    join pg_catalog.pg_roles on rolname >= purpose || '/' || person || '/' and rolname < purpose || '/' || person || '0'
    where rolvaliduntil > now();
    if held >= LOGINS then
        raise exception '`%` has % logins, and at most LOGINS at a time', person, held
            using errcode = 'too_many_connections', hint = 'end commands that run, or wait for their leases to end';
    end if;
    create role "{{name}}" login password '{{password}}' valid until '{{expiration}}'
        connection limit 2 in role GROUP;
-- In capitals: Vault does not split a statement with this word at its semicolons.
END
$$
