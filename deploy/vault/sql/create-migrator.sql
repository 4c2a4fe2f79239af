-- Objects belong to vctl_owner from the first statement on, because objects of a login are dropped with it.
create role "{{name}}" login password '{{password}}' valid until '{{expiration}}'
    connection limit 2 in role vctl_owner;
alter role "{{name}}" set role to 'vctl_owner';
