-- Runs as vctl-audit-ro. No parameters. The days for which there are event partitions, oldest first.
select to_char(day, 'YYYY-MM-DD') as day,
       (now() at time zone 'UTC')::date - day as age,
       bytes,
       events_estimate as events
from vctl.event_days()
