-- Which versions of vctl and vctl-agent can live with this schema: docs/versions.md.

-- A migration that takes away or changes the meaning of what an older program reads or calls raises
-- the number here, in the same file. Adding raises nothing.
create table vctl.schema_compat (
    only_row   boolean primary key default true check (only_row),
    -- The oldest protocol of whoever reads tables: `vctl`.
    reader_min integer not null check (reader_min >= 1),
    -- The oldest protocol of whoever calls ingest_v1 and status_v1: `vctl-agent`.
    agent_min  integer not null check (agent_min >= 1)
);
insert into vctl.schema_compat (reader_min, agent_min) values (1, 1);

-- Every program asks once per connection. A function, because those who call it may read no table.
create function vctl.compat_v1(out schema_version integer, out reader_min integer, out agent_min integer)
    returns record
    language sql stable security definer
    set search_path = vctl, pg_temp
as $$
    select (select max(version) from vctl.schema_migration), c.reader_min, c.agent_min
    from vctl.schema_compat c
$$;

revoke all on function vctl.compat_v1() from public;
grant execute on function vctl.compat_v1()
    to vctl_ro, vctl_rw, vctl_identity, vctl_audit_ro, vctl_audit_writer, vctl_audit_ingest, vctl_status,
       vctl_pruner;
grant select on vctl.schema_compat to vctl_ro, vctl_rw, vctl_audit_ro;
