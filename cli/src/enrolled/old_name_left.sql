-- Runs as vctl-ro. $1 is the former name of a host, $2 its present one. Returns whether its host certificate names the
-- former one, and the grants whose scope does.
select exists (select from vctl.host_certificate c
               where c.hostname = $2::text and c.valid_before > now() and $1::text = any (c.principals)),
    array(select format('`%s` of group `%s`', left(g.command || ' ' || g.scope, 300), g.group_name)
          from vctl.rbac_grants g
          where strpos(',' || g.scope || ',', ',host=' || $1::text || ',') > 0
          order by g.group_name, g.command limit 10)
