# For users who log in only within the scope `SCOPE`.
# Allows certificates of that scope, and the access rows that record each login.

path "ssh/sign/NAME" { capabilities = ["update"] }
path "ssh/config/ca" { capabilities = ["read"] }
# The second mount, for a rotation of the CA: `vctl ca ssh-rotate`.
path "ssh-next/sign/NAME" { capabilities = ["update"] }
path "ssh-next/config/ca" { capabilities = ["read"] }

# Writes the user's own access rows and reads none; reads the inventory.
path "database/creds/vctl-audit-writer" { capabilities = ["read"] }

# A token can revoke a lease by its id. No policy may list lease ids.
path "sys/leases/revoke/database/creds/vctl-audit-writer/*" { capabilities = ["update"] }
