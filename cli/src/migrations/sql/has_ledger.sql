-- By the catalogue, which everybody may read: to_regclass fails for who may not use the schema.
select exists (
    select from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'vctl' and c.relname = 'schema_migration'
)
