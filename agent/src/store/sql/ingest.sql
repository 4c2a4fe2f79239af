-- Runs as vctl-audit-ingest-<host>, which may do nothing but this. $6 is where the cursor must stand
-- and $7 where it stands afterwards, $8 to $10 the journal, the rest one element per event.
select cursor_segment, cursor_offset, cursor_check, other_machine
from vctl.ingest_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
                    $19, $20, $21, $22, $23)
