-- Runs as vctl-ro or vctl-rw.
select g.name, g.description, g.created_at,
       array(select m.vault_user from vctl.rbac_members m where m.group_name = g.name order by 1) as members,
       array(select r.command || case when r.scope <> '' then ':' || r.scope else '' end
             from vctl.rbac_grants r where r.group_name = g.name order by r.command, r.scope) as grants
from vctl.rbac_groups g
order by g.name
