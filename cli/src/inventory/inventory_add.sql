-- Runs as vctl-rw. Adds one host: name, data centre, address, port, user, jump host, additional addresses,
-- CA role, state, tags.
insert into vctl.servers
    (hostname, dc, ip, ssh_port, ssh_user, jump_via, extra_ips, ca_role, state, tags)
values ($1::text, $2, $3, $4, $5, $6::text, $7, $8, $9, $10)
