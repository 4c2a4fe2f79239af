-- Runs as vctl-status-<host>; it may call only this function. $1: the columns of server_status
-- except the times. The times are seconds since 1970, or null: $2 the time of the oldest event that
-- the centre does not have yet, $3 the expiry of the host's secret id, $4 this host's clock.
select vctl.status_v1($1 || jsonb_build_object(
    'oldest_unshipped_at', to_timestamp($2), 'secret_id_expires_at', to_timestamp($3), 'clock', $4::float8))
