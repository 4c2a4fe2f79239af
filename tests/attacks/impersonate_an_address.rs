//! A host reports addresses of other hosts, to get their connections.

use vctl_tests::centre::Centre;

const FIND: &str = include_str!("../../cli/src/inventory/inventory_find.sql");

#[test]
fn a_reported_address_takes_nothing_from_its_owner() {
    let Some(centre) = Centre::shared() else {
        return;
    };
    let db = "reported_addresses";
    centre.create_database_with_schema(db).unwrap();
    let sql = |sql: &str| centre.postgres.psql(db, sql).unwrap();
    sql(
        "insert into vctl.servers (hostname, ip, extra_ips, state) values
         ('liar', '192.0.2.9', '{}', 'active'), ('web', '192.0.2.1', '{10.0.0.1,2001:db8::1}', 'active'),
         ('gone', '192.0.2.3', '{}', 'retired');
         insert into vctl.server_status (hostname, agent_version, addresses) values
         ('liar', '1', '{192.0.2.1,10.0.0.1,2001:db8::1,192.0.2.3,10.9.9.9}')",
    );
    let find = |word: &str| {
        let query = FIND
            .replace("$1", &format!("'{word}'"))
            .replace("$2", &format!("'{word}'"));
        let query = query.trim_end();
        sql(&format!(
            "select string_agg(hostname, ' ') from ({query}) f"
        ))
    };
    // The address for connections, and two more addresses: another IPv4 address and an IPv6 address.
    for address in ["192.0.2.1", "10.0.0.1", "2001:db8::1"] {
        assert_eq!(find(address), "web", "{address}");
    }
    // No active host has these addresses in the inventory, so the report decides, as before.
    for address in ["10.9.9.9", "192.0.2.3"] {
        assert_eq!(find(address), "liar", "{address}");
    }
}
