//! Clients of databases.
use super::Value::{Account, After, Marked, Plain, Switch, Token, Whole};
use super::{NONE, Program, attached, onward, operand, rule};

#[rustfmt::skip]
pub(super) const TABLE: &[Program] = &[
    Program { names: &["mysql", "mariadb", "mysqldump", "mariadb-dump", "mysqladmin", "mariadb-admin", "mysqlimport", "mysqlcheck", "mysqlslap", "mysqlshow", "mysqlbinlog", "mysqlpump", "mysql_upgrade", "mysqlsh", "xtrabackup", "mariabackup", "mydumper", "myloader"],
        rules: &[attached("-p", Whole), attached("--password", Whole), attached("--login-path", Plain)],
        operands: &[operand("password", 1, Whole)], ..NONE },
    Program { names: &["psql", "pg_dump", "pg_restore", "pg_dumpall", "createdb", "dropdb", "createuser", "pgbench", "vacuumdb", "pg_basebackup"],
        rules: &[rule("--password", Switch), rule("--no-password", Switch)], ..NONE },
    Program { names: &["redis-cli", "valkey-cli", "keydb-cli"],
        rules: &[rule("-a", Whole), rule("-h", Plain), rule("-p", Plain), rule("-n", Plain)],
        operands: &[operand("auth", 1, Whole), operand("auth", 2, Whole), operand("requirepass", 1, Whole), operand("masterauth", 1, Whole), onward("setuser", 2, Marked)], ..NONE },
    Program { names: &["redis-server", "valkey-server"], rules: &[rule("--requirepass", Whole), rule("--masterauth", Whole)], ..NONE },
    Program { names: &["mongo", "mongosh", "mongodump", "mongorestore", "mongoexport", "mongoimport", "cqlsh", "influx", "clickhouse-client", "beeline", "arangosh"],
        rules: &[rule("-p", Whole)], ..NONE },
    Program { names: &["sqlcmd", "bcp", "tsql", "fisql", "osql"], rules: &[rule("-P", Whole)], ..NONE },
    Program { names: &["sqlplus", "exp", "imp", "expdp", "impdp", "sqlldr", "rman"],
        operands: &[operand("", 1, After(b'/'))], ..NONE },
    Program { names: &["isql"], operands: &[operand("", 3, Whole)], ..NONE },
    Program { names: &["etcdctl"], rules: &[rule("--user", Account)], operands: &[operand("user", 2, After(b':')), operand("passwd", 1, Token)], ..NONE },
    Program { names: &["cypher-shell", "neo4j-admin", "elasticsearch-users", "pgcli", "mycli", "iredis", "usql", "psql-wrapper", "ksql", "trino", "presto"],
        rules: &[rule("-p", Token), rule("-a", Whole)], operands: &[operand("set-initial-password", 1, Whole)], ..NONE },
    Program { names: &["cbq", "couchbase-cli", "cbbackupmgr", "cbtransfer", "cbimport", "cbexport", "cbc"],
        rules: &[rule("-p", Whole), rule("-P", Whole)], ..NONE },
    Program { names: &["rethinkdb", "orientdb", "nodetool", "sstableloader", "dsbulk", "influxd", "taos"], rules: &[rule("-pw", Whole), rule("-p", Token)], ..NONE },
    Program { names: &["bteq", "snowsql", "db2", "dbaccess", "hdbsql", "vsql", "exaplus"],
        rules: &[rule("-p", Whole), rule("-w", Whole)], operands: &[operand("using", 1, Whole), operand(".logon", 1, After(b','))], ..NONE },
    Program { names: &["sp_addlogin", "sp_password"], operands: &[onward("", 2, Whole)], ..NONE },
];
