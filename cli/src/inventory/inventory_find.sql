-- Runs as vctl-ro or vctl-audit-writer. $1 is a word in lower case, $2 the same word as an address, or null.
-- Returns all hosts of the first step with a result: exact name, an address set by operators, an address reported
-- by the agent, a part of the name. An address is not searched in names. Must match `inventory::resolve`.
with step as (
    select s.hostname,
           case when s.hostname = $1::text then 1
                when s.state = 'retired' then null
                when $2::inet is null then case when strpos(s.hostname, $1::text) > 0 then 4 end
                when host(s.ip) = host($2::inet) or $2::inet = any (s.extra_ips) then 2
                when $2::inet = any (t.addresses) then 3 end as step
    from vctl.servers s left join vctl.server_status t using (hostname)
)
select s.hostname::text, s.dc, s.ip, s.ssh_port, s.ssh_user, s.jump_via::text, s.extra_ips,
       t.addresses[1:64] as observed_ips, s.ca_role, s.state, s.last_seen_up, s.last_probed_at, left(t.agent_version, 64) as agent_version, t.reported_at, t.clock_offset_s, s.tags
from step join vctl.servers s using (hostname) left join vctl.server_status t using (hostname)
where step = (select min(step) from step)
order by s.hostname
