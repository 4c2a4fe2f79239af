-- Runs as vctl-ro. No parameters. Hosts that are not retired, with the CAs that they are known to trust.
select s.hostname::text, s.ssh_user, s.ca_role,
       array(select t.fingerprint from vctl.host_trust t where t.hostname = s.hostname) as trusted,
       c.ca_fingerprint as certificate_ca
from vctl.servers s
left join vctl.host_certificate c on c.hostname = s.hostname and c.valid_before > now()
where s.state <> 'retired'
order by s.hostname
