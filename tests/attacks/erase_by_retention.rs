//! A pruner deletes young records, or a host or client makes the centre delete its own record early.

use vctl_tests::centre::{Centre, DATABASE};

use crate::as_person::{refusal, stderr, vctl};

#[test]
fn a_pruner_cannot_go_below_the_least_periods() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let pruner = centre.with_policies(&["vctl-pruner"]).unwrap();
    let login = pruner.credential("vctl-pruner").unwrap();
    for periods in ["1, 1, 1", "6, 365, 1095", "14, 89, 1095", "14, 90, 364"] {
        for function in ["prune_v1", "prune_plan_v1"] {
            let sql = format!("select * from vctl.{function}({periods})");
            let said = refusal(centre, &login, &sql);
            assert!(
                said.contains("shorter than the least ones"),
                "{sql}: {said}"
            );
        }
    }
    let rw = centre.bao.admin().unwrap().credential("vctl-rw").unwrap();
    for login in [&login, &rw] {
        let sql = "update vctl.retention_floor set event_days = 1";
        let said = refusal(centre, login, sql);
        assert!(said.contains("permission denied"), "{said}");
    }
    let args = ["prune", "--yes", "--days", "1"];
    let output = vctl(centre, &pruner, DATABASE, &args).output().unwrap();
    assert!(!output.status.success());
    let said = stderr(&output);
    assert!(
        said.contains("shorter than the least ones") && said.contains("vctl.retention_floor"),
        "{said}"
    );
}

#[test]
fn a_stated_time_does_not_shorten_a_life() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let db = "stated_times";
    centre.create_database_with_schema(db).unwrap();
    let sql = |sql: &str| centre.postgres.psql(db, sql).unwrap();
    // A session that ended in 1970, a gap from that time, and an access that waited for years. All of them are stored
    // now.
    sql("insert into vctl.audit_host (hostname) values ('liar');
         insert into vctl.audit_session (id, host_id, boot_id, opened_at, closed_at)
         select gen_random_uuid(), 1, gen_random_uuid(), 'epoch', 'epoch';
         insert into vctl.audit_gap (host_id, boot_id, cause, from_at, to_at, gap, sha256)
         select 1, gen_random_uuid(), 'ring_full', '1971-01-01', '1971-01-01', '{}', 'a';
         insert into vctl.access_log (vault_user, opened_at, hostname, login_user)
         values ('oidc-a', now() - interval '3000 days', 'web-1', 'root')");
    let left = || {
        sql(
            "select (select count(*) from vctl.audit_session), (select count(*) from vctl.audit_gap), \
             (select count(*) from vctl.access_log)",
        )
    };
    sql("select count(*) from vctl.prune_v1(14, 365, 1095)");
    assert_eq!(left(), "1|1|1");
    // So does an event, which a partition holds. A host that was offline for 20 days has nothing else to state.
    let event = |of_day: &str| {
        let id = uuid::Uuid::now_v7();
        sql(&format!(
            "select from vctl.store_batch('liar', null, '{id}', '{id}', '1', '{id}', '{{1,0,0}}', '{{2,0,0}}', '{{}}', \
             '{{}}', '{{}}', array['{id}'::uuid], array[1::bigint], array[{of_day}], array[0::bigint], \
             array[1::smallint], array[1], array[1], array[1::bigint], array[0], array['a'::bytea], array['a'::bytea], \
             array['a'::bytea], array['a'::bytea], array['a'::bytea])"
        ));
        id
    };
    let shipped = [
        "now() - interval '20 days'",
        "now() - interval '1 day'",
        "now()",
    ]
    .map(event);
    sql("select count(*) from vctl.prune_v1(14, 365, 1095)");
    let events = "select count(*) from vctl.kernel_event e join vctl.audit_session s on s.id = e.session_id \
                  and e.day between s.first_day and s.last_day";
    assert_eq!(sql(events), "3");
    let late = format!("session_id = '{}'", shipped[0]);
    let day = format!(
        "select day = (now() at time zone 'UTC')::date from vctl.kernel_event where {late}"
    );
    assert_eq!(sql(&day), "t");
    sql("delete from vctl.audit_session where opened_at > 'epoch'");
    // The time of arrival decides when the pruner deletes them.
    sql(
        "update vctl.audit_session set updated_at = now() - interval '366 days';
         update vctl.audit_gap set stored_at = now() - interval '366 days';
         update vctl.access_log set recorded_at = now() - interval '1096 days'",
    );
    for _ in 0..4 {
        sql("select count(*) from vctl.prune_v1(14, 365, 1095)");
    }
    assert_eq!(left(), "0|0|0");
}
