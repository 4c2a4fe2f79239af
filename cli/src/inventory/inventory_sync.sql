-- Runs as vctl-rw. $1 name, $2 data centre, $3 address, $4 port, $5 user, $6 jump host, $7 CA role, $8 whether
-- it answered. For an existing host, only address, port and the times of the test change: operators set the
-- other columns. A failed test does not change the time of the last successful one.
insert into vctl.servers as s (hostname, dc, ip, ssh_port, ssh_user, jump_via, ca_role, last_seen_up, last_probed_at)
values ($1::text, $2, $3, $4, $5, $6::text, $7, case when $8 then now() end, now())
on conflict (hostname) do update
set ip = excluded.ip,
    ssh_port = excluded.ssh_port,
    last_probed_at = excluded.last_probed_at,
    last_seen_up = coalesce(excluded.last_seen_up, s.last_seen_up),
    updated_at = case when (s.ip, s.ssh_port) is distinct from (excluded.ip, excluded.ssh_port)
                      then now() else s.updated_at end
