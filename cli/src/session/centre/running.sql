-- Runs as vctl-audit-ro. Sessions without an end, with the last command of each and the age of the host's last sign.
-- $1 part of a present or former name of a host, $2 person (shown or whole name).
select s.id, extract(epoch from now() - vctl.host_seen_at(s.host_id, s.boot_id))::float8 as host_seen_s,
    last.at, last.wall_offset, last.record
from vctl.audit_session s
left join lateral (
    select e.at, e.wall_offset,
        e.head || coalesce(e.exe, '') || coalesce(e.cwd, '') || coalesce(e.filename, '') || coalesce(e.argv, '') as record
    from vctl.kernel_event e
    where e.session_id = s.id and e.day between s.first_day and s.last_day and e.kind = 1
      -- As vctl.is_users_exec: not a program of sshd or PAM.
      and case when octet_length(e.head) > 141 then get_byte(e.head, 141) & 3 not in (1, 2) else true end
    order by e.seq desc
    limit 1
) last on true
where s.closed_at is null and s.opened is not null
  and ($1::text is null or s.host_id in
          (select id from vctl.audit_host where position(lower($1) in lower(hostname)) > 0
           union select host_id from vctl.host_former_name where position(lower($1) in lower(hostname)) > 0))
  and ($2::text is null or s.vault_user = $2 or vctl.person(s.vault_user) = $2
       or s.vault_user is null and (s.key_id = $2 or vctl.person(s.key_id) = $2))
order by s.opened_at desc, s.id desc
