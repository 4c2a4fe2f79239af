-- Runs as vctl-audit-ro. Our CAs with their mounts, and when the access log was created.
select k.fingerprint, k.mount,
    (select min(m.applied_at) from vctl.schema_migration m where m.version = 3), now()
from (select null::text as fingerprint, null::text as mount
      union all select fingerprint, mount from vctl.ca_keys) k
