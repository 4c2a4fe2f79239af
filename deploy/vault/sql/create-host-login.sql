create role "{{name}}" login password '{{password}}' valid until '{{expiration}}'
    connection limit 4 in role GROUP;
insert into vctl.db_login (login, hostname) values ('{{name}}', 'HOST');
