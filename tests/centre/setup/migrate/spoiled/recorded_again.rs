//! Changes that the check of `0032_recorded_again` must find.

pub(super) const SPOILED: &[(&str, &str)] = &[
    (
        "0032_recorded_again",
        "create or replace function vctl.began_after(opened json, closed json) returns boolean
             language sql immutable set search_path = vctl, pg_temp as $$ select false $$",
    ),
    (
        "0032_recorded_again",
        "do $$ begin
             execute (select replace(pg_get_functiondef(p.oid), 'began_after(excluded.opened', 'began_after(s.opened')
                      from pg_proc p where p.oid::regproc::text = 'vctl.store_batch');
         end $$",
    ),
    (
        "0032_recorded_again",
        "create or replace function vctl.without_escapes(entry json) returns json
             language sql immutable as $$ select null::json $$",
    ),
    (
        "0032_recorded_again",
        "revoke execute on function vctl.without_escapes(json) from vctl_audit_ro",
    ),
    (
        "0032_recorded_again",
        "do $$ begin
             execute (select replace(pg_get_functiondef(p.oid), 'today - has_yesterday', 'today - 30 * has_yesterday')
                      from pg_proc p where p.oid::regproc::text = 'vctl.store_batch');
         end $$",
    ),
    (
        "0032_recorded_again",
        "alter function vctl.prepare_days_v1(integer) reset lock_timeout",
    ),
    (
        "0032_recorded_again",
        "drop trigger note_late_event on vctl.audit_session",
    ),
    (
        "0032_recorded_again",
        "alter table vctl.audit_session disable trigger note_opening",
    ),
];
