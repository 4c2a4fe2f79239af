-- The archive as the table `events`, each event once: a run of `archive.sh` that was killed writes its events again.
create temp view events as
    select distinct on (id) * from read_parquet('parquet/*/*.parquet', hive_partitioning = true);
