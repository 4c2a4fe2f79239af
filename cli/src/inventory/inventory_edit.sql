-- Runs as vctl-rw. $1 is the name of a host. The others are new values; null leaves a column unchanged.
-- $8 is true to remove the jump host.
update vctl.servers
set hostname = coalesce($2::text, hostname),
    dc = coalesce($3, dc),
    ip = coalesce($4, ip),
    ssh_port = coalesce($5, ssh_port),
    ssh_user = coalesce($6, ssh_user),
    jump_via = case when $8 then null else coalesce($7::text, jump_via) end,
    extra_ips = coalesce($9, extra_ips),
    ca_role = coalesce($10, ca_role),
    state = coalesce($11, state),
    tags = coalesce($12, tags),
    updated_at = now()
where hostname = $1::text
