-- Runs as vctl-ro or vctl-rw. $1 is the name of a group, or null for all groups.
select g.name, g.description, g.created_at,
       array(select m.vault_user from vctl.rbac_members m where m.group_name = g.name order by 1) as members,
       array(select r.command || case when r.scope <> '' then ':' || r.scope else '' end
             from vctl.rbac_grants r where r.group_name = g.name order by r.command, r.scope) as grants
from vctl.rbac_groups g
where $1::text is null or g.name = $1
order by g.name
