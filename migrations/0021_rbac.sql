-- Command grants: which person may run which gated command of vctl, on which hosts, and each change of that.
--
-- vctl enforces them before a gated command does anything. Vault's policies remain the boundary: a client that
-- ignores the grants still needs a policy for each certificate and each login.
--
-- Each change is one call of a function, which also records it: no login can change a grant without a record. The
-- group `everyone` has every person as a member and gets the grant `*`, so the first vctl that enforces grants
-- refuses no command that worked before. An administrator narrows access with `vctl rbac revoke everyone '*'`.

-- Conditions on the target, such as `dc=seoul,user=root`, in the form that vctl writes. Empty for every target.
alter table vctl.rbac_grants add column scope text not null default ''
    constraint rbac_grants_scope check (length(scope) <= 256 and scope !~ '[[:cntrl:]]');
alter table vctl.rbac_grants drop constraint rbac_grants_pkey;
alter table vctl.rbac_grants add constraint rbac_grants_pkey primary key (group_name, command, scope);

-- Returns the hash that the name of a database login has of its person: see vctl.login_person. `convert_to` counts as
-- stable, but the encoding of the database never changes.
create function vctl.person_key(p_display_name text) returns text
    language sql immutable strict parallel safe
    set search_path = pg_catalog, pg_temp
return left(encode(sha256(convert_to(p_display_name, 'UTF8')), 'hex'), 16);

-- So that the grants of a caller are found by the name of the login alone, without a claim of the client.
alter table vctl.rbac_members
    add column person_key text not null generated always as (vctl.person_key(vault_user)) stored;
create index on vctl.rbac_members (person_key);

delete from vctl.rbac_members where group_name = 'everyone';
insert into vctl.rbac_groups (name, description)
values ('everyone', 'Every person is a member. It cannot be deleted.')
on conflict (name) do update set description = excluded.description;
insert into vctl.rbac_grants (group_name, command) values ('everyone', '*') on conflict do nothing;

-- The record of changes: nobody changes or deletes a row, not even the owner of the schema.
create table vctl.rbac_change (
    id         bigint generated always as identity primary key,
    changed_at timestamptz not null default now(),
    -- Whole display name of the person who made the change, proven by the login; null for a migration.
    changed_by text        check (length(changed_by) <= 1024),
    login      text        not null default session_user,
    action     text        not null check (action in ('create group', 'describe group', 'delete group',
                                                      'add member', 'remove member', 'grant', 'revoke')),
    group_name text        not null check (length(group_name) <= 63),
    -- The changed thing before and after; null where it did not or does not exist.
    before     jsonb,
    after      jsonb,
    check (num_nonnulls(before, after) > 0)
);
create index on vctl.rbac_change (changed_at desc, id desc);

insert into vctl.rbac_change (action, group_name, after)
values ('create group', 'everyone', '{"description": "Every person is a member. It cannot be deleted."}'),
       ('grant', 'everyone', '{"command": "*", "scope": ""}');

create function vctl.refuse_change() returns trigger
    language plpgsql
    set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception 'rows of `%` are never changed or deleted', tg_table_name using errcode = 'insufficient_privilege';
end
$$;
create trigger append_only before update or delete or truncate on vctl.rbac_change
    for each statement execute function vctl.refuse_change();
revoke update, delete, truncate on vctl.rbac_change from vctl_owner;
grant select on vctl.rbac_change to vctl_ro, vctl_rw, vctl_audit_ro;

-- From here on, these tables are written through the functions below only.
revoke insert, update, delete on vctl.rbac_groups, vctl.rbac_members, vctl.rbac_grants from vctl_rw;

create function vctl.record_rbac(p_person text, p_action text, p_group text, p_before jsonb, p_after jsonb) returns void
    language sql
    set search_path = vctl, pg_temp
as $$
    insert into vctl.rbac_change (changed_by, action, group_name, before, after)
    values (p_person, p_action, p_group, p_before, p_after)
$$;

-- Refuses a group that does not exist. It cannot be deleted by another login until this transaction ends.
create function vctl.existing_group(p_group text) returns void
    language plpgsql
    set search_path = vctl, pg_temp
as $$
begin
    perform from vctl.rbac_groups where name = p_group for key share;
    if not found then
        raise exception 'there is no group `%`', left(p_group, 64) using errcode = 'undefined_object';
    end if;
end
$$;

-- Creates a group, or changes its description. Returns whether anything changed.
create function vctl.rbac_create_group_v1(p_display_name text, p_group text, p_description text) returns boolean
    language plpgsql security definer
    set search_path = vctl, pg_temp
as $$
declare
    person text := vctl.named('the display name', vctl.login_person(p_display_name), 1024);
    old    text;
begin
    if p_description ~ '[[:cntrl:]]' then
        raise exception 'the description contains a control character' using errcode = 'invalid_parameter_value';
    end if;
    insert into vctl.rbac_groups (name, description)
    values (p_group, vctl.named('the description', coalesce(p_description, ''), 1024))
    on conflict (name) do nothing;
    if found then
        perform vctl.record_rbac(person, 'create group', p_group, null,
            jsonb_build_object('description', coalesce(p_description, '')));
        return true;
    end if;
    -- Null leaves the description as it is.
    select description into old from vctl.rbac_groups where name = p_group for update;
    if p_description is null or old is null or old = p_description then
        return false;
    end if;
    update vctl.rbac_groups set description = p_description where name = p_group;
    perform vctl.record_rbac(person, 'describe group', p_group, jsonb_build_object('description', old),
        jsonb_build_object('description', p_description));
    return true;
end
$$;

-- Deletes a group with its members and grants, which the record keeps.
create function vctl.rbac_delete_group_v1(p_display_name text, p_group text) returns void
    language plpgsql security definer
    set search_path = vctl, pg_temp
as $$
declare
    person text := vctl.named('the display name', vctl.login_person(p_display_name), 1024);
    old    jsonb;
begin
    if p_group = 'everyone' then
        raise exception 'the group `everyone` cannot be deleted' using errcode = 'invalid_parameter_value';
    end if;
    perform from vctl.rbac_groups where name = p_group for update;
    if not found then
        raise exception 'there is no group `%`', left(p_group, 64) using errcode = 'undefined_object';
    end if;
    select jsonb_build_object('description', g.description,
        'members', coalesce((select jsonb_agg(m.vault_user order by m.vault_user)
                             from vctl.rbac_members m where m.group_name = g.name), '[]'),
        'grants', coalesce((select jsonb_agg(jsonb_build_object('command', r.command, 'scope', r.scope)
                                             order by r.command, r.scope)
                            from vctl.rbac_grants r where r.group_name = g.name), '[]'))
    into old from vctl.rbac_groups g where g.name = p_group;
    delete from vctl.rbac_groups where name = p_group;
    perform vctl.record_rbac(person, 'delete group', p_group, old, null);
end
$$;

-- Adds (p_add) or removes persons, by their whole display names. Returns the names for which something changed.
create function vctl.rbac_members_v1(p_display_name text, p_group text, p_users text[], p_add boolean) returns text[]
    language plpgsql security definer
    set search_path = vctl, pg_temp
as $$
declare
    person  text := vctl.named('the display name', vctl.login_person(p_display_name), 1024);
    member  text;
    changed text[] := '{}';
begin
    if p_group = 'everyone' then
        raise exception 'every person is a member of the group `everyone`' using errcode = 'invalid_parameter_value';
    end if;
    if cardinality(p_users) > 1000 then
        raise exception 'at most 1000 persons at a time' using errcode = 'invalid_parameter_value';
    end if;
    perform vctl.existing_group(p_group);
    foreach member in array p_users loop
        if p_add and (member is null or member = '' or length(member) > 1024 or member ~ '[[:cntrl:]]') then
            raise exception 'a person has a name of 1 to 1024 characters without control characters'
                using errcode = 'invalid_parameter_value';
        end if;
        if p_add then
            insert into vctl.rbac_members (group_name, vault_user) values (p_group, member) on conflict do nothing;
        else
            delete from vctl.rbac_members where group_name = p_group and vault_user = member;
        end if;
        if found then
            changed := changed || member;
            perform vctl.record_rbac(person, case when p_add then 'add member' else 'remove member' end, p_group,
                case when not p_add then jsonb_build_object('member', member) end,
                case when p_add then jsonb_build_object('member', member) end);
        end if;
    end loop;
    return changed;
end
$$;

-- Grants (p_add) or revokes commands, each with the scope at the same place. Returns, for each, whether it changed.
create function vctl.rbac_grants_v1(p_display_name text, p_group text, p_commands text[], p_scopes text[], p_add boolean)
    returns boolean[]
    language plpgsql security definer
    set search_path = vctl, pg_temp
as $$
declare
    person  text := vctl.named('the display name', vctl.login_person(p_display_name), 1024);
    what    jsonb;
    changed boolean[] := '{}';
begin
    if cardinality(p_commands) <> cardinality(p_scopes) or cardinality(p_commands) > 1000 then
        raise exception 'each command has one scope, and at most 1000 are changed at a time'
            using errcode = 'invalid_parameter_value';
    end if;
    perform vctl.existing_group(p_group);
    for i in 1 .. cardinality(p_commands) loop
        if p_add then
            insert into vctl.rbac_grants (group_name, command, scope) values (p_group, p_commands[i], p_scopes[i])
            on conflict do nothing;
        else
            delete from vctl.rbac_grants
            where group_name = p_group and command = p_commands[i] and scope = p_scopes[i];
        end if;
        changed := changed || found;
        if found then
            what := jsonb_build_object('command', p_commands[i], 'scope', p_scopes[i]);
            perform vctl.record_rbac(person, case when p_add then 'grant' else 'revoke' end, p_group,
                case when not p_add then what end, case when p_add then what end);
        end if;
    end loop;
    return changed;
end
$$;

-- Returns the groups of the person of this login with their grants; a group without a grant has one row with nulls.
create function vctl.caller_grants_v1() returns table (group_name text, command text, scope text)
    language sql stable security definer
    set search_path = vctl, pg_temp
as $$
    select g.name, r.command, r.scope
    from vctl.rbac_groups g left join vctl.rbac_grants r on r.group_name = g.name
    where g.name = 'everyone'
       or g.name in (select m.group_name from vctl.rbac_members m
                     -- Once for all rows, and with the collation of the index: that of session_user is "C".
                     where m.person_key = (select substring(session_user from '~([0-9a-f]{16})/[^/]*$')
                                                  collate "default"))
    order by 1, 2, 3
$$;

revoke all on function vctl.person_key(text), vctl.refuse_change(), vctl.existing_group(text),
    vctl.record_rbac(text, text, text, jsonb, jsonb), vctl.rbac_create_group_v1(text, text, text),
    vctl.rbac_delete_group_v1(text, text), vctl.rbac_members_v1(text, text, text[], boolean),
    vctl.rbac_grants_v1(text, text, text[], text[], boolean), vctl.caller_grants_v1()
    from public;
grant execute on function vctl.rbac_create_group_v1(text, text, text), vctl.rbac_delete_group_v1(text, text),
    vctl.rbac_members_v1(text, text, text[], boolean),
    vctl.rbac_grants_v1(text, text, text[], text[], boolean)
    to vctl_rw;
-- Each command asks with the login that it needs anyway, and `vctl login` with the one that records the login.
grant execute on function vctl.caller_grants_v1()
    to vctl_ro, vctl_rw, vctl_identity, vctl_audit_ro, vctl_audit_writer, vctl_pruner;
