-- Runs as vctl-ro or vctl-audit-writer. $1 is the exact name of a host. Returns the host and its jump hosts, the host
-- first; stops before a host that is already in the list.
with recursive way as (
    select hostname, jump_via, 1 as hop, array[hostname::text] as before
    from vctl.servers where hostname = $1::text
    union all
    select s.hostname, s.jump_via, hop + 1, before || s.hostname::text
    from way join vctl.servers s on s.hostname = way.jump_via
    where s.hostname::text <> all (before)
)
select s.hostname::text, s.dc, s.ip, s.ssh_port, s.ssh_user, s.jump_via::text, s.extra_ips,
       t.addresses[1:64] as observed_ips, s.ca_role, s.state, s.last_seen_up, s.last_probed_at, left(t.agent_version, 64) as agent_version, t.reported_at, t.clock_offset_s, s.tags
from way join vctl.servers s using (hostname) left join vctl.server_status t using (hostname)
order by hop
