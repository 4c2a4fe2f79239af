do $$
declare
    login constant text := '{{name}}';
begin
    -- Vault repeats the revocation until one succeeds.
    if not exists (select from pg_roles where rolname = login) then
        return;
    end if;
    execute format('alter role %I nologin', login);
    -- Only a member of a role may end its backends and drop its objects.
    execute format('grant %I to current_user', login);
    execute format('set local role %I', login);
    -- Vault handles no other request for this database meanwhile, so each backend gets at most 1 s to end.
    perform pg_terminate_backend(pid, 1000) from pg_stat_activity
    where usename = login and pid <> pg_backend_pid();
    drop owned by current_user;
    set local role none;
    begin
        execute format('drop role %I', login);
    exception when dependent_objects_still_exist then
        -- The login owns an object in another database, which this statement cannot reach. An error would undo the
        -- steps above: a user with a large object elsewhere would keep the login.
        raise warning 'login % owns something in another database: locked out, not dropped', login;
    end;
-- In capitals: Vault does not split a statement with this word at its semicolons.
END
$$
