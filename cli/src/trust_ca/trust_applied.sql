-- Runs as vctl-rw. $1 a host, $2 fingerprints of all SSH CAs that its sshd trusts.
with host as (
    update vctl.servers set ca_applied_at = now() where hostname = $1::text returning hostname
), gone as (
    delete from vctl.host_trust t using host
    where t.hostname = host.hostname and t.fingerprint <> all ($2::text[])
)
insert into vctl.host_trust (hostname, fingerprint)
select host.hostname, trusted.fingerprint from host, unnest($2::text[]) trusted (fingerprint)
on conflict (hostname, fingerprint) do update set applied_at = now()
