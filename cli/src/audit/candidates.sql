-- Between wanted.sql and unexplained.sql: the newest sessions in the time of the shown requests. To look at one session
-- takes some 20 us, so more of them would take longer than the list itself.
, earliest as (
    select case when $4 is not null and ($7 is null or count(*) < $7) then $4
                else min(opened_at) filter (where opened_at >= '1970-01-01') end as since
    from wanted
), candidates as (
    select * from vctl.audit_session
    where opened_at between (select since from earliest) and 'infinity'
    order by opened_at desc, id desc
    limit 1000
)
