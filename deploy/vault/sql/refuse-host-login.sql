do $$
begin
    raise exception 'host % is revoked', 'HOST';
END
$$
