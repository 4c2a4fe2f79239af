-- A group of its own for `vctl revoke`. A row of `vctl.revocation` decides which key ids the list for sshd refuses, so
-- the right to end sessions must not be enough to write one: a person with that right could block any user.
--
-- The functions of 0023_revocations move from `vctl_session_end` to `vctl_revoke`, the group of the database role
-- `vctl-revoke`. Its logins also end the sessions of the revoked user.

do $$
begin
    if not exists (select from pg_roles where rolname = 'vctl_revoke') then
        raise exception 'the role `vctl_revoke` is missing'
            using errcode = 'undefined_object',
                  hint = 'run the new deploy/vault/setup.sh first: it creates the role';
    end if;
end
$$;

-- Names of all users whose access was revoked in the last day, for the list that sshd reads: the newest 1,024.
create or replace function vctl.revoked_names_v1() returns table (name text)
    language sql stable security definer
    set search_path = vctl, pg_temp
as $$
    select n from vctl.revocation r, unnest(r.names) n
    where r.requested_at > now() - interval '1 day'
    group by n
    order by max(r.requested_at) desc, n
    limit 1024
$$;

revoke execute on function vctl.sessions_of_v1(text[]), vctl.certificates_of_v1(text[]), vctl.revoked_names_v1(),
    vctl.begin_revocation_v1(text, text[], text, text), vctl.finish_revocation_v1(bigint, jsonb) from vctl_session_end;
grant usage on schema vctl to vctl_revoke;
grant execute on function vctl.sessions_of_v1(text[]), vctl.certificates_of_v1(text[]), vctl.revoked_names_v1(),
    vctl.begin_revocation_v1(text, text[], text, text), vctl.finish_revocation_v1(bigint, jsonb) to vctl_revoke;
grant execute on function vctl.compat_v1(), vctl.request_session_end_v1(text, uuid, text),
    vctl.session_end_state_v1(bigint) to vctl_revoke;
