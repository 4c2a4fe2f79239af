-- Reads the scope file, which is in the table scope_file. Returns a row for each scope: `scope`, its name in Vault, its
-- text, its principals, and its lifetimes in seconds. If the file has problems, returns them instead, as `problem`.
-- cli/src/rbac/scope_file.rs and terraform/scopes/main.tf must accept the same files and return the same values.
with pattern as (
    select '[A-Za-z0-9_]([A-Za-z0-9._-]{0,61}[A-Za-z0-9_])?' as word,
           '[a-z0-9_*?]([a-z0-9._*?-]{0,61}[a-z0-9_*?])?' as glob
), entry as (
    select key as scope,
           case when json_typeof(value) = 'object' then value else '{}' end as settings,
           json_typeof(value) as kind,
           'vctl-scope-' || lower(translate(key, '=,*?', '-.__')) as name,
           -- The principals name the account, so the rest of the scope is their second part.
           substring(key from '(?:^|,)user=(.*)$') as only_user,
           replace(regexp_replace(key, '(^|,)user=.*$', ''), ',', '+') as place
    from scope_file, json_each(file)
), listed as (
    select entry.*, case when json_typeof(settings -> 'users') = 'array' then settings -> 'users' else '[]' end as users,
           coalesce(settings -> 'ttl_s', '1800') as ttl, coalesce(settings -> 'max_ttl_s', '7200') as max_ttl
    from entry
), timed as (
    select listed.*,
           json_typeof(ttl) = 'number' and ttl::text ~ '^[1-9][0-9]{0,6}$'
               and json_typeof(max_ttl) = 'number' and max_ttl::text ~ '^[1-9][0-9]{0,6}$' as is_timed
    from listed
), problem as (
    select format('`%s` is not a scope; expected the conditions `dc=NAME`, `host=PATTERN` and `user=NAME`, in this order', scope) as said
    from entry
    where scope !~ (select format('^(dc=%1$s(,host=%2$s)?(,user=%1$s)?|host=%2$s(,user=%1$s)?|user=%1$s)$', word, glob) from pattern)
    union all
    select format('%s have the same name in Vault, `%s`', string_agg('`' || scope || '`', ' and ' order by scope), name)
    from entry group by name having count(*) > 1
    union all
    select format('`%s` is a JSON %s; expected an object', scope, kind) from entry where kind <> 'object'
    union all
    select format('`%s` has the unknown key `%s`; expected `users`, `ttl_s` and `max_ttl_s`', scope, key)
    from entry, json_object_keys(settings) key where key not in ('users', 'ttl_s', 'max_ttl_s')
    union all
    select format('`%s` has the key `%s` several times', scope, key)
    from entry, json_object_keys(settings) key group by scope, key having count(*) > 1
    union all
    select format('`%s` names its account already; remove `users`', scope)
    from entry where only_user is not null and settings -> 'users' is not null
    union all
    select format('`users` of `%s` is missing or empty; expected a list of accounts', scope)
    from listed where only_user is null and json_array_length(users) = 0
    union all
    select format('`users` of `%s` contains %s, which is not the name of an account', scope, account)
    from listed, json_array_elements(users) account
    where json_typeof(account) <> 'string' or account #>> '{}' !~ (select '^' || word || '$' from pattern)
    union all
    select format('`ttl_s` or `max_ttl_s` of `%s` is not a whole number of seconds', scope) from timed where not is_timed
    union all
    select format('`max_ttl_s` of `%s` is %s; expected at most 86400 seconds', scope, max_ttl)
    from timed where case when is_timed then max_ttl::text::int > 86400 end
    union all
    select format('`ttl_s` of `%s` is %s, above its `max_ttl_s`, %s', scope, ttl, max_ttl)
    from timed where case when is_timed then ttl::text::int > max_ttl::text::int end
)
select 'problem', regexp_replace(left(said, 300), '[[:cntrl:]|]', '?', 'g'), '', '', '', '' from problem
union all
select 'scope', name, scope,
       (select string_agg(case when place = '' then account else account || '@' || place end, ',' order by position)
        from (select only_user as account, 0 as position where only_user is not null
              union all
              select value, ordinality from json_array_elements_text(users) with ordinality) account),
       ttl::text, max_ttl::text
from timed
where not exists (select from problem)
order by 1, 2;
