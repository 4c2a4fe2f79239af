-- Who a database login is: the server's word, never the client's.
--
-- Vault names the login of a person `<purpose>/<name>~<hash>/<random>`, where <hash> is the first
-- 16 hex digits of the SHA-256 of the whole display name. A role name has 63 bytes and a display
-- name may have more, so the client sends the whole one and this checks it against the hash.

create function vctl.login_person(p_display_name text) returns text
    language plpgsql stable
    set search_path = pg_catalog, pg_temp
as $$
declare
    claimed text := left(encode(sha256(convert_to(coalesce(p_display_name, ''), 'UTF8')), 'hex'), 16);
    proven  text := substring(session_user from '~([0-9a-f]{16})/[^/]*$');
begin
    if proven is null then
        raise exception 'login `%` was not made by Vault for a person', session_user
            using errcode = 'insufficient_privilege';
    end if;
    if proven <> claimed then
        raise exception 'login `%` is not the one of `%`', session_user, p_display_name
            using errcode = 'insufficient_privilege';
    end if;
    return p_display_name;
end
$$;

-- `oidc-albert` is shown as `albert`. What stands before the first hyphen is the auth mount; a name
-- without one (a root token's) stays as it is.
create function vctl.person(p_display_name text) returns text
    language sql immutable strict parallel safe
    set search_path = pg_catalog, pg_temp
return regexp_replace(p_display_name, '^[^-]+-(.)', '\1');

-- Which host a login is of: written by Vault with the role itself and deleted when it is revoked.
create table vctl.db_login (
    login      text primary key,
    hostname   text        not null check (hostname <> ''),
    created_at timestamptz not null default now()
);

-- Hosts that ever reported. Rows of the audit keep this number, so that taking a host out of the
-- inventory or naming it anew never takes its past away.
create table vctl.audit_host (
    id       integer generated always as identity primary key,
    hostname text not null unique
);

-- Returns the caller's host.
create function vctl.login_host() returns text
    language plpgsql stable security definer
    set search_path = vctl, pg_temp
as $$
declare
    host text;
begin
    select hostname into host from vctl.db_login where login = session_user;
    if host is null then
        raise exception 'login `%` belongs to no host', session_user
            using errcode = 'insufficient_privilege',
                  hint = 'enrol the host: vctl host enroll HOST';
    end if;
    if not exists (select from vctl.servers where hostname = host) then
        raise exception 'host `%` is not in the inventory', host
            using errcode = 'VC001', hint = format('put it back: vctl add %s', host);
    end if;
    return host;
end
$$;

-- Records that a person logged in with this version of vctl.
create function vctl.seen_v1(p_display_name text, p_version text) returns void
    language sql security definer
    set search_path = vctl, pg_temp
as $$
    insert into vctl.seen_users (vault_user, vctl_version)
    values (vctl.login_person(p_display_name), left(p_version, 64))
    on conflict (vault_user) do update set last_seen = now(), vctl_version = excluded.vctl_version
$$;

revoke all on function vctl.login_person(text), vctl.login_host(), vctl.seen_v1(text, text) from public;
grant execute on function vctl.seen_v1(text, text) to vctl_identity;
-- The creation and revocation statements of Vault's roles run as this one.
grant select, insert, delete on vctl.db_login to vctl_vault;
