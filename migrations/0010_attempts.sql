-- An access is one row, however often it is handed in.
--
-- A client whose answer got lost, or that died between the commit and forgetting what it kept, cannot know
-- that its row is there, and hands it in again. So each attempt has an id of the client's own: a second row
-- of the same person with that id is none, and its caller gets the id of the first.
--
-- The function is that of 0003_access_log otherwise: rights and callers stay, and a client that sends no id
-- is served as before.

alter table vctl.access_log add column attempt_id uuid;
create unique index on vctl.access_log (vault_user, attempt_id) where attempt_id is not null;

create or replace function vctl.open_access_v1(p_display_name text, p_access jsonb) returns bigint
    language plpgsql security definer
    set search_path = vctl, pg_temp
as $$
declare
    person text := vctl.login_person(p_display_name);
    attempt uuid := (p_access ->> 'attempt_id')::uuid;
    -- Not `least` alone: it takes null for no argument, and every row would have waited.
    waited timestamptz := case when p_access ->> 'opened_at' is not null
        then least((p_access ->> 'opened_at')::timestamptz, now()) end;
    row_id bigint;
begin
    insert into vctl.access_log (vault_user, login, attempt_id, opened_at, replayed, hostname, login_user,
        target_addr, target_port, jump_via, ca_fingerprint, cert_serial, key_id, command, source_ip,
        source_port, client_host, client_user, vctl_version)
    values (person, session_user, attempt, coalesce(waited, now()), waited is not null,
        p_access ->> 'hostname', p_access ->> 'login_user', (p_access ->> 'target_addr')::inet,
        (p_access ->> 'target_port')::integer,
        coalesce(array(select jsonb_array_elements_text(p_access -> 'jump_via')), '{}'),
        p_access ->> 'ca_fingerprint', (p_access ->> 'cert_serial')::numeric, p_access ->> 'key_id',
        left(p_access ->> 'command', 4096), (p_access ->> 'source_ip')::inet,
        (p_access ->> 'source_port')::integer, left(p_access ->> 'client_host', 255),
        left(p_access ->> 'client_user', 255), left(p_access ->> 'vctl_version', 64))
    on conflict (vault_user, attempt_id) where attempt_id is not null do nothing
    returning id into row_id;
    if row_id is null then
        -- Of the same access only: with an id that is used twice, another one would go unrecorded.
        select id into row_id from vctl.access_log
        where vault_user = person and attempt_id = attempt and hostname = p_access ->> 'hostname'
          and cert_serial is not distinct from (p_access ->> 'cert_serial')::numeric;
        if row_id is null then
            raise exception 'the attempt % is another access', attempt using errcode = 'unique_violation';
        end if;
        return row_id;
    end if;
    insert into vctl.access_hop (access_id, hop, hostname, ca_fingerprint, cert_serial)
    select row_id, hop, h ->> 'hostname', h ->> 'ca_fingerprint', (h ->> 'cert_serial')::numeric
    from jsonb_array_elements(coalesce(p_access -> 'hops', '[]')) with ordinality as hops (h, hop);
    return row_id;
end
$$;

-- Whoever asks to be let in somewhere looks up where that is, and does both with one login: making and
-- dropping a second one was a fifth of what a short `vctl ssh` takes.
grant select on vctl.servers, vctl.server_status to vctl_audit_writer;
