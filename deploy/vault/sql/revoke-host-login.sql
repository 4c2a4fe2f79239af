delete from vctl.db_login where login = '{{name}}';
