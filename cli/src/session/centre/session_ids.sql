-- Runs as vctl-audit-ro. Session ids from $1 to $2, at most $3 of them.
select id from vctl.audit_session where id between $1 and $2 order by id limit $3
