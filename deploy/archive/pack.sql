-- Writes the lines of `new.jsonl` as Parquet to `packing`, one directory for each day.
--
-- `event` has the exported line unchanged. The other columns repeat parts of it, so that a search reads few bytes:
-- Parquet stores each column apart. DuckDB does not guess types here, because it takes an argument that looks like a
-- date for one.
--
-- A host states its times and numbers. One that does not fit into its column is null there, and `event` has it: an error
-- would stop the archive of all hosts. A line that is not JSON is an error, because `vctl` writes none.
copy (
    select distinct on (id)
        json->>'$.event.id' as id,
        -- Its last moment is in April 2262.
        try_cast(json->>'$."@timestamp"' as timestamp_ns) as time,
        json->>'$.host.name' as host,
        json->>'$.vctl.session.id' as session,
        try_cast(json->>'$.event.sequence' as ubigint) as sequence,
        json->>'$.vctl.person.name' as person,
        json->>'$.event.action' as action,
        json->>'$.process.command_line' as command,
        json as event,
        left(json->>'$."@timestamp"', 10) as day
    from read_ndjson_objects('new.jsonl', maximum_object_size = 67108864)
    order by host, session, sequence
) to 'packing' (format parquet, compression zstd, partition_by (day), filename_pattern 'events-{uuid}');
