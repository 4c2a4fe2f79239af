//! Changes of a database that the check of a migration must find.

mod recorded_again;

/// Returns the migration with the failing check, and the change to the schema.
pub(super) fn spoiled() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    EARLIER.iter().chain(recorded_again::SPOILED)
}

const EARLIER: &[(&str, &str)] = &[
    ("0001_inventory", "drop table vctl.rbac_grants"),
    (
        "0001_inventory",
        "alter domain vctl.host_name drop constraint host_name_check",
    ),
    (
        "0001_inventory",
        "alter table vctl.servers drop constraint servers_jump_via_fkey",
    ),
    (
        "0001_inventory",
        "revoke select on vctl.servers from vctl_ro",
    ),
    (
        "0001_inventory",
        "grant insert on vctl.seen_users to vctl_identity",
    ),
    (
        "0001_inventory",
        "revoke usage on schema vctl from vctl_vault",
    ),
    ("0002_identity", "drop function vctl.seen_v1"),
    (
        "0002_identity",
        "alter function vctl.login_host() security invoker",
    ),
    (
        "0002_identity",
        "grant execute on function vctl.login_person to public",
    ),
    (
        "0002_identity",
        "grant insert on vctl.db_login to vctl_status",
    ),
    (
        "0002_identity",
        "revoke delete on vctl.db_login from vctl_vault",
    ),
    ("0003_access_log", "drop function vctl.close_access_v1"),
    (
        "0003_access_log",
        "alter function vctl.open_access_v1 reset search_path",
    ),
    (
        "0003_access_log",
        "grant insert on vctl.access_log to vctl_audit_writer",
    ),
    (
        "0003_access_log",
        "grant select on vctl.access_log to vctl_audit_writer",
    ),
    (
        "0003_access_log",
        "drop index vctl.access_log_opened_at_idx",
    ),
    ("0004_sessions", "drop table vctl.audit_gap"),
    (
        "0004_sessions",
        "drop index vctl.kernel_event_session_id_seq_day_idx",
    ),
    (
        "0004_sessions",
        "grant delete on vctl.kernel_event to vctl_pruner",
    ),
    (
        "0004_sessions",
        "revoke select on vctl.kernel_event from vctl_audit_ro",
    ),
    ("0005_ingest", "drop function vctl.status_v1"),
    (
        "0005_ingest",
        "grant execute on function vctl.cursor_v1 to public",
    ),
    (
        "0005_ingest",
        "grant select on vctl.servers to vctl_audit_ingest",
    ),
    ("0006_retention", "drop function vctl.prune_v1"),
    (
        "0006_retention",
        "grant delete on vctl.access_log to vctl_pruner",
    ),
    ("0007_compat", "drop function vctl.compat_v1"),
    ("0007_compat", "delete from vctl.schema_compat"),
    (
        "0008_enrolled",
        "alter table vctl.servers drop column enrolled_at cascade",
    ),
    (
        "0008_enrolled",
        "revoke update on vctl.servers from vctl_rw",
    ),
    (
        "0009_ingest_lookups",
        "alter function vctl.store_batch reset enable_seqscan",
    ),
    (
        "0009_ingest_lookups",
        "alter table vctl.audit_session reset (fillfactor)",
    ),
    (
        "0010_attempts",
        "drop index vctl.access_log_vault_user_attempt_id_idx",
    ),
    (
        "0010_attempts",
        "revoke select on vctl.servers from vctl_audit_writer",
    ),
    ("0011_ssh_trust", "drop table vctl.host_trust"),
    (
        "0011_ssh_trust",
        "revoke select on vctl.ca_keys from vctl_audit_writer",
    ),
    (
        "0011_ssh_trust",
        "alter table vctl.ca_keys drop constraint ca_keys_state_check",
    ),
    (
        "0011_ssh_trust",
        "alter table vctl.host_certificate drop constraint host_certificate_hostname_fkey",
    ),
    (
        "0011_ssh_trust",
        "revoke delete on vctl.host_trust from vctl_rw",
    ),
    (
        "0012_limits",
        "alter table vctl.servers drop constraint servers_limits",
    ),
    (
        "0012_limits",
        "grant execute on function vctl.cut to public",
    ),
    (
        "0013_ingest_limits",
        "alter table vctl.kernel_event drop constraint kernel_event_limits",
    ),
    ("0014_floor", "delete from vctl.retention_floor"),
    (
        "0014_floor",
        "grant update on vctl.retention_floor to vctl_pruner",
    ),
    (
        "0014_floor",
        "grant select on vctl.event_day_turn to vctl_ro",
    ),
    (
        "0014_floor",
        "alter table vctl.audit_gap drop column stored_at",
    ),
    (
        "0015_login_contradictions",
        "revoke execute on function vctl.login_contradictions from vctl_audit_ro",
    ),
    (
        "0015_login_contradictions",
        "grant execute on function vctl.doubtful_logins_v1 to public",
    ),
    (
        "0016_login_work",
        "create or replace function vctl.is_users_exec(kind smallint, head bytea) returns boolean \
         language sql immutable as $$ select kind = 1 $$",
    ),
    (
        "0017_host_clock",
        "alter table vctl.server_status drop column clock_offset_s",
    ),
    (
        "0018_unreadable_certificates",
        "revoke execute on function vctl.doubtful_logins_v1 from vctl_ro",
    ),
    (
        "0020_last_probed",
        "alter table vctl.servers drop constraint servers_last_probed_at",
    ),
    ("0021_rbac", "drop function vctl.caller_grants_v1"),
    (
        "0021_rbac",
        "alter function vctl.rbac_members_v1 reset search_path",
    ),
    ("0021_rbac", "grant insert on vctl.rbac_grants to vctl_rw"),
    (
        "0021_rbac",
        "grant delete on vctl.rbac_change to vctl_vault",
    ),
    ("0021_rbac", "drop trigger append_only on vctl.rbac_change"),
    (
        "0021_rbac",
        "delete from vctl.rbac_groups where name = 'everyone'",
    ),
    (
        "0021_rbac",
        "grant execute on function vctl.rbac_delete_group_v1 to vctl_ro",
    ),
    (
        "0021_rbac",
        "revoke execute on function vctl.caller_grants_v1 from vctl_audit_writer",
    ),
    (
        "0022_session_requests",
        "grant update on vctl.session_end_request to vctl_session_end",
    ),
    (
        "0022_session_requests",
        "grant execute on function vctl.answer_session_end_v1(bigint, jsonb) to vctl_status",
    ),
    (
        "0022_session_requests",
        "revoke execute on function vctl.session_ends_v1(uuid) from vctl_audit_ingest",
    ),
    (
        "0022_session_requests",
        "revoke execute on function vctl.compat_v1() from vctl_session_end",
    ),
    (
        "0023_revocations",
        "grant update on vctl.revocation to vctl_session_end",
    ),
    (
        "0023_revocations",
        "grant execute on function vctl.certificates_of_v1(text[]) to vctl_ro",
    ),
    (
        "0023_revocations",
        "alter function vctl.finish_revocation_v1(bigint, jsonb) security invoker",
    ),
    (
        "0023_revocations",
        "revoke select on vctl.revocation from vctl_audit_ro",
    ),
    (
        "0024_host_rename",
        "drop trigger refuse_former_name on vctl.audit_host",
    ),
    (
        "0024_host_rename",
        "alter table vctl.servers disable trigger refuse_former_name",
    ),
    (
        "0024_host_rename",
        "drop trigger append_only on vctl.host_former_name",
    ),
    (
        "0024_host_rename",
        "grant insert on vctl.host_former_name to vctl_rw",
    ),
    (
        "0024_host_rename",
        "alter function vctl.host_rename_v1 security invoker",
    ),
    (
        "0024_host_rename",
        "grant execute on function vctl.host_rename_v1 to vctl_ro",
    ),
    (
        "0024_host_rename",
        "revoke select on vctl.host_former_name from vctl_audit_ro",
    ),
    (
        "0024_host_rename",
        "create or replace function vctl.login_contradictions(p_session uuid) returns table (words text[]) \
         language sql stable rows 1 as $$ select '{}'::text[] $$",
    ),
    (
        "0025_export_order",
        "drop trigger note_arrival on vctl.audit_gap",
    ),
    (
        "0025_export_order",
        "alter table vctl.access_log disable trigger note_ended",
    ),
    (
        "0025_export_order",
        "grant delete on vctl.access_change to vctl_pruner",
    ),
    (
        "0026_revoke_role",
        "grant execute on function vctl.begin_revocation_v1(text, text[], text, text) to vctl_session_end",
    ),
    (
        "0026_revoke_role",
        "revoke execute on function vctl.begin_revocation_v1(text, text[], text, text) from vctl_revoke",
    ),
    (
        "0026_revoke_role",
        "revoke execute on function vctl.session_end_state_v1(bigint) from vctl_revoke",
    ),
    (
        "0026_revoke_role",
        "revoke usage on schema vctl from vctl_revoke",
    ),
    (
        "0026_revoke_role",
        "grant execute on function vctl.answer_session_end_v1(bigint, jsonb) to vctl_revoke",
    ),
    (
        "0026_revoke_role",
        "grant update on vctl.revocation to vctl_revoke",
    ),
    (
        "0026_revoke_role",
        "create or replace function vctl.revoked_names_v1() returns table (name text) language sql stable \
         security definer set search_path = vctl, pg_temp as $$ select ''::text limit 1024 $$",
    ),
    (
        "0027_former_names_kept",
        "alter table vctl.audit_host disable trigger refuse_former_names_left",
    ),
    (
        "0027_former_names_kept",
        "alter function vctl.refuse_former_names_left() security invoker",
    ),
    (
        "0028_stream_ingest",
        "revoke execute on function vctl.stream_cursor_v1(text, uuid) from vctl_stream_ingest",
    ),
    (
        "0028_stream_ingest",
        "grant execute on function vctl.stream_cursor_v1(text, uuid) to vctl_audit_ingest",
    ),
    (
        "0028_stream_ingest",
        "grant execute on function vctl.stream_host(text, uuid) to public",
    ),
    (
        "0028_stream_ingest",
        "grant select on vctl.audit_session to vctl_stream_ingest",
    ),
    (
        "0028_stream_ingest",
        "alter function vctl.stream_cursor_v1(text, uuid) security invoker",
    ),
    (
        "0028_stream_ingest",
        "revoke usage on schema vctl from vctl_stream_ingest",
    ),
    (
        "0029_stream_blocked",
        "revoke execute on function vctl.stream_names_v1(text, uuid) from vctl_stream_ingest",
    ),
    (
        "0029_stream_blocked",
        "alter function vctl.stream_names_v1(text, uuid) security invoker",
    ),
    (
        "0029_stream_blocked",
        "grant execute on function vctl.stream_names_v1(text, uuid) to vctl_audit_ingest",
    ),
    (
        "0029_stream_blocked",
        "create function vctl.stream_host(text) returns text language sql as $$ select $1 $$",
    ),
    (
        "0029_stream_blocked",
        "alter table vctl.ingest_cursor drop column stored_until cascade",
    ),
    (
        "0030_stream_names",
        "create or replace function vctl.stream_names_v1(p_host text, p_spool uuid) returns setof text
             language sql stable security definer set search_path = vctl, pg_temp as $$ select p_host $$",
    ),
    (
        "0031_stream_stored_at",
        "alter function vctl.stream_stored_at_v1(text, uuid, uuid) security invoker",
    ),
    (
        "0031_stream_stored_at",
        "grant execute on function vctl.stream_stored_at_v1(text, uuid, uuid) to vctl_audit_ingest",
    ),
];
