-- Runs as vctl-ro. $1 is the name of a host. Returns the present name of another host that had this name before.
select h.hostname
from vctl.host_former_name f join vctl.audit_host h on h.id = f.host_id
where f.hostname = $1::text and not exists (select from vctl.audit_host own where own.hostname = f.hostname)
order by f.until desc
limit 1
