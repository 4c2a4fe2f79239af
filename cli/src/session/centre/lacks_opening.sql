-- Runs as vctl-audit-ro. $1 session. Whether events of it are stored, but not its opening.
select exists (select from vctl.audit_session where id = $1 and opened is null)
