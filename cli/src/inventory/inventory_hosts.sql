-- Runs as vctl-ro or vctl-audit-writer. No parameters. All hosts, including retired ones, by data centre and name.
select s.hostname::text, s.dc, s.ip, s.ssh_port, s.ssh_user, s.jump_via::text, s.extra_ips,
       t.addresses[1:64] as observed_ips, s.ca_role, s.state, s.last_seen_up, s.last_probed_at, left(t.agent_version, 64) as agent_version, t.reported_at, t.clock_offset_s, s.tags
from vctl.servers s left join vctl.server_status t using (hostname)
order by s.dc, s.hostname
