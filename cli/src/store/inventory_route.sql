with recursive way as (
    select s.*, 1 as depth from vctl.servers s where s.hostname = $1
    union all
    select s.*, depth + 1 from way join vctl.servers s on s.hostname = way.jump_via where depth < 64
)
select s.hostname, s.dc, host(s.ip) as ip, s.ssh_port, s.ssh_user, s.jump_via,
    array(select host(a) from unnest(s.extra_ips) a) as extra_ips,
    array(select host(a) from unnest(coalesce(t.addresses, '{}')) a) as observed_ips,
    s.ca_role, s.state, s.last_seen_up, t.agent_version, t.reported_at, s.tags
from way s left join vctl.server_status t using (hostname) order by depth desc
