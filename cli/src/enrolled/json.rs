//! Enrolled hosts as JSON, CSV and names, as documented in docs/host-json.md.

use serde::Serialize;

use super::model::{EnrolledHost, FormerName};
use crate::ui::records::Records;
use crate::ui::{sanitize, time};

/// Enrolled hosts, for every output format.
pub(crate) struct EnrolledHosts;

#[derive(Serialize)]
struct HostJson<'a> {
    hostname: &'a str,
    dc: &'a str,
    inventory_state: &'a str,
    approles: &'a [String],
    enrolled_at: Option<String>,
    last_record_at: Option<String>,
    last_report_at: Option<String>,
    secret_id_expires_at: Option<String>,
    former_names: Vec<FormerNameJson<'a>>,
}

#[derive(Serialize)]
struct FormerNameJson<'a> {
    hostname: &'a str,
    until: Option<String>,
    renamed_by: &'a str,
}

impl Records for EnrolledHosts {
    const NAME: &'static str = "hosts";
    const VERSION: u32 = 1;
    const COLUMNS: &'static [&'static str] = &[
        "hostname",
        "dc",
        "inventory_state",
        "approles",
        "enrolled_at",
        "last_record_at",
        "last_report_at",
        "secret_id_expires_at",
        "former_names",
    ];
    type Record = EnrolledHost;

    fn json(&self, host: &EnrolledHost) -> impl Serialize {
        shown(host)
    }

    fn name(&self, host: &EnrolledHost) -> String {
        sanitize::text(&host.name)
    }
}

fn shown(host: &EnrolledHost) -> HostJson<'_> {
    let former = |former: &'_ FormerName| former.until.map(time::millis);
    HostJson {
        hostname: &host.name,
        dc: &host.dc,
        inventory_state: &host.state,
        approles: &host.approles,
        enrolled_at: host.enrolled_at.map(time::millis),
        last_record_at: host.last_record_at.map(time::millis),
        last_report_at: host.last_report_at.map(time::millis),
        secret_id_expires_at: host.secret_id_expires_at.map(time::millis),
        former_names: host
            .former_names
            .iter()
            .map(|name| FormerNameJson {
                hostname: &name.name,
                until: former(name),
                renamed_by: &name.renamed_by,
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::fixture::rendered;
    use crate::ui::format::OutputFormat;
    use crate::ui::json::schema;
    use crate::ui::records;

    #[test]
    fn every_enrolled_host_fits_the_schema() {
        let renamed = EnrolledHost {
            name: "www-1".to_owned(),
            approles: vec!["www-1.0000001f".to_owned()],
            enrolled_at: Some(UNIX_EPOCH),
            former_names: vec![FormerName {
                name: "web-1".to_owned(),
                until: Some(UNIX_EPOCH),
                renamed_by: "oidc-albert".to_owned(),
            }],
            ..EnrolledHost::default()
        };
        let hosts = [renamed, EnrolledHost::default()];
        let text = rendered(|out| records::write(out, OutputFormat::Json, &EnrolledHosts, &hosts));
        let document = serde_json::from_str(&text).unwrap();
        schema::assert_fits(schema::OF_ENROLLED, None, &document);
    }
}
