-- Runs as vctl-ro or vctl-rw. No parameters. Users who have logged in and members of groups, by name.
select coalesce(u.vault_user, m.vault_user) as display_name, u.last_seen, u.vctl_version,
       extract(epoch from now() - u.last_seen)::float8 as age_s, coalesce(m.groups, '{}') as groups
from vctl.seen_users u
full join (select vault_user, array_agg(group_name order by group_name) as groups
           from vctl.rbac_members group by vault_user) m using (vault_user)
order by 1
