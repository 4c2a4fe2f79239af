do $$
declare
    login constant text := '{{name}}';
begin
    -- Vault asks again until it has heard that it worked.
    if not exists (select from pg_roles where rolname = login) then
        return;
    end if;
    execute format('alter role %I nologin', login);
    -- Only a member of a role may end its backends and drop what it owns.
    execute format('grant %I to current_user', login);
    execute format('set local role %I', login);
    -- Vault does nothing else on this database meanwhile.
    perform pg_terminate_backend(pid, 1000) from pg_stat_activity
    where usename = login and pid <> pg_backend_pid();
    drop owned by current_user;
    set local role none;
    begin
        execute format('drop role %I', login);
    exception when dependent_objects_still_exist then
        -- It owns something in another database, where this cannot reach. Failing here would undo what
        -- is above: whoever made a large object elsewhere would keep his login.
        raise warning 'login % owns something in another database: locked out, not dropped', login;
    end;
-- In capitals: by that word Vault knows a text that it must not cut at its semicolons.
END
$$
