//! Names that a scope has in Vault and on hosts: the signing role, the policy, and the principals of certificates.

use super::scope::Scope;

/// First part of the name of each role, policy and group that belongs to a scope.
const PREFIX: &str = "vctl-scope-";

impl Scope {
    /// Returns the name of the scope's role, policy and group in Vault.
    ///
    /// deploy/vault/sql/read-scopes.sql and terraform/scopes/main.tf derive the same name. Two scopes may have the same
    /// name, so a scope file cannot contain both, and the principals of a role show its scope.
    pub(crate) fn vault_name(&self) -> String {
        let text = self.to_string().to_ascii_lowercase();
        let name = text.chars().map(|c| match c {
            '=' => '-',
            ',' => '.',
            '*' | '?' => '_',
            other => other,
        });
        PREFIX.chars().chain(name).collect()
    }

    /// Returns the conditions on the host as a part of principals: `dc=seoul+host=web-*`. Empty for every host.
    pub(crate) fn place(&self) -> String {
        let conditions = [("dc", self.dc()), ("host", self.host())];
        let conditions = conditions.into_iter();
        let conditions = conditions.filter_map(|(key, value)| Some(format!("{key}={}", value?)));
        conditions.collect::<Vec<String>>().join("+")
    }

    /// Returns the principal that certificates of this scope have for an account.
    pub(crate) fn principal(&self, user: &str) -> String {
        let place = self.place();
        if place.is_empty() {
            user.to_owned()
        } else {
            format!("{user}@{place}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        text.parse().unwrap()
    }

    #[test]
    fn scope_has_one_name_and_principals_in_vault() {
        for (text, name, principal) in [
            (
                "dc=Seoul-onprem",
                "vctl-scope-dc-seoul-onprem",
                "root@dc=Seoul-onprem",
            ),
            (
                "dc=a,host=web-*,user=root",
                "vctl-scope-dc-a.host-web-_.user-root",
                "root@dc=a+host=web-*",
            ),
            ("host=db-?.x", "vctl-scope-host-db-_.x", "root@host=db-?.x"),
            ("user=root", "vctl-scope-user-root", "root"),
        ] {
            assert_eq!(scope(text).vault_name(), name);
            assert_eq!(scope(text).principal("root"), principal);
        }
    }
}
