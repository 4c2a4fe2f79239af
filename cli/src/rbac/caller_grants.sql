-- Runs as vctl-ro, vctl-rw, vctl-audit-ro, vctl-audit-writer or vctl-pruner. No parameters. The groups of the person of
-- this login with their grants, as `COMMAND[:SCOPE]`; a group without a grant has one row with null.
select group_name, command || case when scope <> '' then ':' || scope else '' end as grant_text
from vctl.caller_grants_v1()
