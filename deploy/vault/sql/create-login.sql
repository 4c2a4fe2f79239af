do $$
declare
    -- `<person>~<hash>`: the same for all purposes.
    person constant text := split_part('{{name}}', '/', 2);
    held integer;
    -- Connections of these logins, and of the new one.
    granted integer;
    wanted integer := 2;
begin
    -- All logins share the connections, and only the paid edition of Vault counts leases. Ranges of names let
    -- Postgres use the index: a central store has thousands of logins.
    select count(*), coalesce(sum(rolconnlimit), 0) into held, granted
    from unnest(array['ro', 'rw', 'id', 'audit-ro', 'audit-wr', 'pruner', 'migrator', 'end', 'revoke']) purpose
    join pg_catalog.pg_roles on rolname >= purpose || '/' || person || '/' and rolname < purpose || '/' || person || '0'
    where rolvaliduntil > now();
    if held >= LOGINS then
        raise exception '`%` has % logins, and at most LOGINS at a time', person, held
            using errcode = 'too_many_connections', hint = 'end commands that run, or wait for their leases to end';
    end if;
    -- Parallel `vctl ssh` and `vctl proxy` share a login. It gets more connections, except the two of each login that
    -- this person may still create.
    if '{{name}}' like 'audit-wr/%' then
        wanted := greatest(2, least(24, CONNECTIONS - granted - 2 * (LOGINS - held - 1)));
    end if;
    execute format('create role %I login password %L valid until %L connection limit %s in role GROUP',
        '{{name}}', '{{password}}', '{{expiration}}', wanted);
-- In capitals: Vault does not split a statement with this word at its semicolons.
END
$$
