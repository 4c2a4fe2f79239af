-- When a host was given an identity: one that has had it for a while and never reported needs a look.
--
-- Written by `vctl host enroll`, which is also where it stands that it waits for a host; Vault tells
-- nobody which AppRoles there are. Hosts that were enrolled before this have none until the next time.
alter table vctl.servers add column enrolled_at timestamptz;
