-- Runs as vctl-ro. $1 is the name of a host. Returns its former names; a name that another host has now is not one.
select distinct f.hostname::text
from vctl.host_former_name f join vctl.audit_host h on h.id = f.host_id
where h.hostname = $1::text and not exists (select from vctl.audit_host own where own.hostname = f.hostname)
order by 1
