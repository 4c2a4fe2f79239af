create role "{{name}}" login password '{{password}}' valid until '{{expiration}}'
    connection limit 4 in role GROUP;
