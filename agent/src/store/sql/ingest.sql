-- Runs as vctl-audit-ingest-<host>; it may call only this function. $6 is the expected position of
-- the cursor and $7 its new one, $8 to $10 are the journal, and the rest has one element per event.
select cursor_segment, cursor_offset, cursor_check, other_machine
from vctl.ingest_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
                    $19, $20, $21, $22, $23)
