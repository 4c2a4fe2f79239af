-- Logins of one enrolment. deploy/vault/username.tmpl forms their names: a name over 45 bytes is cut, and
-- ends with a hash of the full name.
select r.rolname::text
from pg_roles r,
    lateral (select case when length($1::text) <= 45 then $1::text
             else left($1::text, 28) || '-' || left(encode(sha256(convert_to($1::text, 'UTF8')), 'hex'), 16)
             end) as shown (name)
where r.rolcanlogin
  and (starts_with(r.rolname::text, 'ingest/' || shown.name || '/')
    or starts_with(r.rolname::text, 'status/' || shown.name || '/'))
order by 1
