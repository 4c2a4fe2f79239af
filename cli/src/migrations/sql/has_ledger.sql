-- Reads the catalogue, which every login may read: to_regclass fails without usage of the schema.
select exists (
    select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'vctl' and c.relname = 'schema_migration'
)
