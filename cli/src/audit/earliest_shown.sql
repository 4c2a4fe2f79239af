-- Between wanted.sql and unexplained.sql. Only the time of the shown requests: a search of all logins would take long.
, earliest as (
    select case when $4 is not null and ($7 is null or count(*) < $7) then $4
                else min(opened_at) filter (where opened_at >= '1970-01-01') end as since
    from wanted
)
