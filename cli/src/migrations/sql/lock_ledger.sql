-- Runs as vctl_owner at the beginning of each migration. No other login may take this lock: users may only read the
-- ledger.
set local lock_timeout = '5s';
lock table vctl.schema_migration in share row exclusive mode;
