-- Runs as vctl-ro. $1 is the name of a group, or null. $2 is a part of a user's name in any case, or null. $3 is the
-- maximum number of changes. Returns the newest changes first.
select id, changed_at, changed_by, action, group_name, before, after
from vctl.rbac_change
where ($1::text is null or group_name = $1)
  and ($2::text is null or strpos(lower(changed_by), lower($2)) > 0
       or strpos(lower(coalesce(before, after) ->> 'member'), lower($2)) > 0
       -- A deleted group has a list of members.
       or exists (select from jsonb_array_elements_text(
                      case jsonb_typeof(before -> 'members') when 'array' then before -> 'members' else '[]' end) m
                  where strpos(lower(m), lower($2)) > 0))
order by changed_at desc, id desc
limit $3
