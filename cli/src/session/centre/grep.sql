-- Runs as vctl-audit-ro. Programs that were started with certain bytes in their arguments or path, newest sessions
-- first.
-- $1 the bytes in each of their forms, $2 part of a present or former name of a host, $3 person,
-- $4 and $5 opened since and before, $6 serial, $7 id, $8 maximum number of events to read in all sessions together,
-- $9 maximum number of lines per session, $10 whether to include programs that sshd and PAM ran at login and logout
-- (wire::EXEC_PHASE_SHIFT; a record may be shorter), $11 pattern of the path, $12 only programs of root, $13 only
-- failed ones, $14 only those with this exit status. No bytes in $1, and null in $11 and $14, are no condition. The
-- limit $8 counts the events of whole sessions, from their counters. So the same search always reads the
-- same sessions, and can report where it stopped.
with newest as (
    select s.id, s.opened_at, s.stored, s.first_day, s.last_day
    from vctl.audit_session s
    where ($2::text is null or s.host_id in
              (select id from vctl.audit_host where position(lower($2) in lower(hostname)) > 0
               union select host_id from vctl.host_former_name where position(lower($2) in lower(hostname)) > 0))
      and ($3::text is null or s.vault_user = $3 or vctl.person(s.vault_user) = $3
           or s.vault_user is null and (s.key_id = $3 or vctl.person(s.key_id) = $3))
      and ($4::timestamptz is null or s.opened_at >= $4)
      and ($5::timestamptz is null or s.opened_at < $5)
      and ($6::text is null or s.cert_serial = $6::text::numeric)
      and ($7::uuid is null or s.id = $7)
      and s.opened is not null and s.stored > 0
    order by s.opened_at desc, s.id desc
    limit 20000
),
counted as (
    select *, sum(stored) over earlier - stored >= $8::bigint or count(*) over earlier >= 20000 as is_beyond
    from newest
    window earlier as (order by opened_at desc, id desc rows unbounded preceding)
)
select c.id, c.opened_at, c.is_beyond,
    e.seq, e.at, e.wall_offset, e.record
from counted c
-- One session after another, by the index within each: the plan reads no unneeded days or sessions.
left join lateral (
    select k.seq, k.at, k.wall_offset,
        k.head || coalesce(k.exe, '') || coalesce(k.cwd, '') || coalesce(k.filename, '') || coalesce(k.argv, '')
            as record
    from vctl.kernel_event k
    where not c.is_beyond
      and k.session_id = c.id and k.day between c.first_day and c.last_day and k.kind in (1, 3)
      and ($10::boolean or case when octet_length(k.head) > 141
                                then get_byte(k.head, 141) & 3 not in (1, 2) else true end)
      and (cardinality($1::bytea[]) = 0
           or exists (select from unnest($1::bytea[]) as form (bytes)
                      where position(bytes in k.argv) > 0 or position(bytes in k.exe) > 0
                         or position(bytes in k.filename) > 0))
      and ($11::bytea is null or k.exe like $11 or k.filename like $11)
      and (not $12::boolean or k.uid = 0)
      and (not $13::boolean and $14::integer is null or case
               when k.kind = 3 then $13
               -- The next event of the process that is an exec means that another program replaced this one.
               else coalesce((
                   select x.kind = 2 and case when $13 then x.status <> 0 else x.status = $14 * 256 end
                   from vctl.kernel_event x
                   where x.session_id = c.id and x.day between c.first_day and c.last_day
                     and x.kind in (1, 2) and x.pid = k.pid and x.seq > k.seq
                   order by x.seq limit 1), false)
           end)
    order by k.seq
    limit $9::bigint
) e on true
where e.seq is not null or c.is_beyond
-- Not ordered by `seq` too: sorting would search everything before it returned the first row.
order by c.opened_at desc, c.id desc
