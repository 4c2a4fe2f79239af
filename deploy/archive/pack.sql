-- Writes the lines of `new.jsonl` as Parquet to `packing`, one directory for each day.
--
-- `event` has the exported line unchanged. The other columns repeat parts of it, so that a search reads few bytes:
-- Parquet stores each column apart. DuckDB does not guess types here, because it takes an argument that looks like a
-- date for one.
copy (
    select distinct on (id)
        json->>'$.event.id' as id,
        (json->>'$."@timestamp"')::timestamp_ns as time,
        json->>'$.host.name' as host,
        json->>'$.vctl.session.id' as session,
        (json->>'$.event.sequence')::ubigint as sequence,
        json->>'$.vctl.person.name' as person,
        json->>'$.event.action' as action,
        json->>'$.process.command_line' as command,
        json as event,
        left(json->>'$."@timestamp"', 10) as day
    -- The half line of a killed export is not JSON. The export sends its event again.
    from read_ndjson_objects('new.jsonl', ignore_errors = true, maximum_object_size = 67108864)
    where json is not null
    order by host, session, sequence
) to 'packing' (format parquet, compression zstd, partition_by (day), filename_pattern 'events-{uuid}');
