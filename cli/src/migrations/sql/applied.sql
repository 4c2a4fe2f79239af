-- Runs as any login that may read the ledger.
select version, name, sha256, to_char(applied_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), applied_by
from vctl.schema_migration
order by version
