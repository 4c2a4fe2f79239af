-- Runs as vctl-status-<host>, which may call this one function. $1 the columns of server_status that are no
-- times, $2 when the oldest event was recorded that is not at the centre, $3 when the host's secret id
-- expires, $4 this host's clock: seconds since 1970, or null.
select vctl.status_v1($1 || jsonb_build_object(
    'oldest_unshipped_at', to_timestamp($2), 'secret_id_expires_at', to_timestamp($3), 'clock', $4::float8))
