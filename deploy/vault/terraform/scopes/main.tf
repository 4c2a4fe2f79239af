# The roles and policies that a scope file asks for, as plain values: this module uses no provider.
#
# ../../sql/read-scopes.sql and cli/src/rbac/scope_file.rs must accept the same files and return the same values.

terraform {
  required_version = ">= 1.3"
}

variable "file" {
  description = "Path of the scope file; empty for no scopes."
  type        = string
  default     = ""
}

locals {
  word    = "[A-Za-z0-9_]([A-Za-z0-9._-]{0,61}[A-Za-z0-9_])?"
  pattern = "[a-z0-9_*?]([a-z0-9._*?-]{0,61}[a-z0-9_*?])?"
  scope   = "^(dc=${local.word}(,host=${local.pattern})?(,user=${local.word})?|host=${local.pattern}(,user=${local.word})?|user=${local.word})$"
  file    = jsondecode(var.file == "" ? "{}" : file(var.file))

  entries = { for scope, settings in local.file : scope => {
    name = "vctl-scope-${lower(replace(replace(replace(scope, "=", "-"), ",", "."), "/[*?]/", "_"))}"
    # The principals name the account, so the rest of the scope is their second part.
    place     = join("+", [for condition in split(",", scope) : condition if !startswith(condition, "user=")])
    users     = concat([for condition in split(",", scope) : trimprefix(condition, "user=") if startswith(condition, "user=")], try(settings.users, []))
    ttl       = try(settings.ttl_s, 1800)
    max_ttl   = try(settings.max_ttl_s, 7200)
    unknown   = setsubtract(keys(settings), ["users", "ttl_s", "max_ttl_s"])
    is_double = can(regex("(^|,)user=", scope)) && can(settings.users)
  } }
}

# By name. Two scopes with the same name are an error: "Duplicate object key".
output "roles" {
  value = { for scope, entry in local.entries : entry.name => {
    scope         = scope
    allowed_users = join(",", [for user in entry.users : entry.place == "" ? user : "${user}@${entry.place}"])
    ttl           = tostring(entry.ttl)
    max_ttl       = tostring(entry.max_ttl)
    policy        = replace(replace(file("${path.module}/../../scope-policy.hcl"), "NAME", entry.name), "SCOPE", scope)
  } }

  precondition {
    condition     = alltrue([for scope in keys(local.file) : can(regex(local.scope, scope))])
    error_message = "A key of the scope file is not a scope; expected the conditions dc=NAME, host=PATTERN and user=NAME, in this order."
  }
  precondition {
    condition     = alltrue([for entry in local.entries : length(entry.unknown) == 0])
    error_message = "A scope has an unknown key; expected users, ttl_s and max_ttl_s."
  }
  precondition {
    condition     = alltrue([for entry in local.entries : !entry.is_double])
    error_message = "A scope with user= names its account already; remove users."
  }
  precondition {
    condition = alltrue([for entry in local.entries : length(entry.users) > 0 && alltrue([for user in entry.users :
    can(regex("^\"${local.word}\"$", jsonencode(user)))])])
    error_message = "users of a scope is missing, empty, or contains a text that is not the name of an account."
  }
  # The list of `vctl revoke --krl` has the certificates of a day.
  precondition {
    condition     = alltrue([for entry in local.entries : try(entry.max_ttl <= 86400, false)])
    error_message = "max_ttl_s of a scope is above 86400 seconds."
  }
  precondition {
    condition = alltrue([for entry in local.entries : alltrue([for ttl in [entry.ttl, entry.max_ttl] :
    can(regex("^[1-9][0-9]{0,6}$", jsonencode(ttl)))]) && try(entry.ttl <= entry.max_ttl, false)])
    error_message = "ttl_s or max_ttl_s of a scope is not a whole number of seconds, or ttl_s is above max_ttl_s."
  }
}
