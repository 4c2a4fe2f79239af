-- Which host trusts which SSH CA, and whose host certificate it shows: so that a CA can be replaced while
-- everybody goes on logging in, and nobody has to remember which hosts are still missing.

-- `next`: hosts are being told of it, and nothing is signed with it. `active`: it signs. `leaving`: it signed
-- until a moment ago, and hosts still trust it. `retired`: it is gone; its name for sessions of the past stays.
alter table vctl.ca_keys drop constraint ca_keys_state_check;
alter table vctl.ca_keys add constraint ca_keys_state_check
    check (state in ('next', 'active', 'leaving', 'retired'));
-- When it came into the state it is in.
alter table vctl.ca_keys add column state_since timestamptz not null default now();

-- As the host's sshd was last found, or left. Also of CAs that are not ours.
create table vctl.host_trust (
    hostname    vctl.host_name not null
                references vctl.servers on update cascade on delete cascade,
    fingerprint text           not null check (fingerprint ~ '^SHA256:[A-Za-z0-9+/]{43}$'),
    applied_at  timestamptz    not null default now(),
    primary key (hostname, fingerprint)
);
create index on vctl.host_trust (fingerprint);

-- The last one that was issued for each host.
create table vctl.host_certificate (
    hostname       vctl.host_name primary key
                   references vctl.servers on update cascade on delete cascade,
    -- Of the key it is for, and of the CA that signed it.
    key_fingerprint text            not null,
    ca_fingerprint text             not null check (ca_fingerprint ~ '^SHA256:[A-Za-z0-9+/]{43}$'),
    serial         vctl.cert_serial not null,
    principals     text[]           not null,
    valid_before   timestamptz      not null,
    issued_at      timestamptz      not null default now()
);

-- Which CA signs is asked with the login that looks the host up and writes the row.
grant select on vctl.ca_keys to vctl_audit_writer;
grant select on vctl.host_trust, vctl.host_certificate to vctl_ro, vctl_rw, vctl_audit_ro;
grant insert, update, delete on vctl.host_trust, vctl.host_certificate to vctl_rw;
