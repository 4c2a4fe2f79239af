//! If the schema does not fit, an agent ships nothing, loses nothing, and names the program that needs an upgrade:
//! docs/versions.md.

use vctl_tests::centre::{Centre, Options};
use vctl_tests::lab::{PATIENCE, eventually};
use vctl_tests::ship::Source;

struct Case {
    host: &'static str,
    /// The statement that makes the schema unfit. `back` makes it fit again.
    change: &'static str,
    back: &'static str,
    /// Parts of the agent's message: the problem, and the next step.
    says: [&'static str; 2],
}

const CASES: [Case; 2] = [
    Case {
        host: "older-agent",
        change: "update vctl.schema_compat set agent_min = 2",
        back: "update vctl.schema_compat set agent_min = 1",
        says: ["needs a newer `vctl-agent`", "install a newer vctl-agent"],
    },
    Case {
        host: "older-schema",
        change: "alter function vctl.ingest_v1 rename to ingest_later",
        back: "alter function vctl.ingest_later rename to ingest_v1",
        says: [
            "lacks something that this version needs",
            "run `vctl migrate`",
        ],
    },
];

#[test]
fn an_agent_keeps_its_spool_beside_an_unfit_schema() {
    // This spec has a centre of its own, because other specs ship to the shared centre at the same time.
    let Some(centre) = Centre::or_skip(&Options::default()) else {
        return;
    };
    for case in CASES {
        let host = centre.enroll(case.host).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let way = centre.way(&host, dir.path()).unwrap();
        let mut source = Source::open(&dir.path().join("spool"), 1 << 20, 1 << 30).unwrap();
        let id = source.log_in(1).unwrap();
        source.work(id, 50).unwrap();
        centre.ask(case.change).unwrap();
        let shipper = source.ship(&way).unwrap();
        let told = eventually(PATIENCE, || {
            let problem = shipper.progress().status().problem;
            Ok(problem.is_some_and(|why| case.says.iter().all(|text| why.contains(text))))
        });
        let status = shipper.progress().status();
        assert!(told.unwrap(), "{}: {status:?}", case.host);
        let stored = "select count(*) from vctl.kernel_event e \
                      join vctl.audit_host h on h.id = e.host_id where h.hostname = ";
        let stored = format!("{stored}'{}'", case.host);
        assert_eq!(centre.ask(&stored).unwrap(), "0", "{}", case.host);
        // The same agent continues by itself after the schema fits again.
        source.work(id, 50).unwrap();
        centre.ask(case.back).unwrap();
        centre
            .ensure_has(case.host, &source.sessions, PATIENCE)
            .unwrap();
        let well = eventually(PATIENCE, || {
            Ok(shipper.progress().status().problem.is_none())
        });
        assert!(well.unwrap(), "{:?}", shipper.progress().status());
    }
}
