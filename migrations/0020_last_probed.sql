-- A host that `vctl add` put into the inventory was shown as down before anything had tried to reach it. The time of
-- the last probe tells such a host from one that did not answer.

alter table vctl.servers add column last_probed_at timestamptz;

-- The probe that reached a host is the last one that is known of it.
update vctl.servers set last_probed_at = last_seen_up where last_seen_up is not null;

alter table vctl.servers add constraint servers_last_probed_at check (coalesce(isfinite(last_probed_at), true));
