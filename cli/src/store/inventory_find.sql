-- The first of three steps that finds anything: the whole name, an address, a part of the name.
with hosts as (
    select s.hostname, s.dc, host(s.ip) as ip, s.ssh_port, s.ssh_user, s.jump_via,
        array(select host(a) from unnest(s.extra_ips) a) as extra_ips,
        array(select host(a) from unnest(coalesce(t.addresses, '{}')) a) as observed_ips,
        s.ca_role, s.state, s.last_seen_up, t.agent_version, t.reported_at, s.tags,
        case when s.hostname = lower($1) then 1
             when $2::text::inet is not null and (host(s.ip)::inet = $2::text::inet
                or $2::text::inet = any (s.extra_ips) or $2::text::inet = any (t.addresses)) then 2
             when $2::text is null and position(lower($1) in s.hostname) > 0 then 3 end as step
    from vctl.servers s left join vctl.server_status t using (hostname)
)
select * from hosts where step = (select min(step) from hosts) order by hostname
