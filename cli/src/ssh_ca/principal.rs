//! The account that a principal of a certificate is for.

/// Conditions of a principal that names more than an account.
const PLACES: [&str; 2] = ["dc=", "host="];

/// Returns whether a certificate with this principal may be for the account: on every host, or within a scope.
pub(crate) fn is_for_account(principal: &str, user: &str) -> bool {
    let Some(rest) = principal.strip_prefix(user) else {
        return false;
    };
    rest.is_empty()
        || rest
            .strip_prefix('@')
            .is_some_and(|place| PLACES.iter().any(|key| place.starts_with(key)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principal_of_another_account_is_not_for_it() {
        for principal in ["root", "root@dc=a", "root@host=web-*"] {
            assert!(is_for_account(principal, "root"), "{principal}");
            assert!(!is_for_account(principal, "roo"), "{principal}");
            assert!(!is_for_account(principal, "ubuntu"), "{principal}");
        }
        assert!(!is_for_account("root@example.net", "root"));
        assert!(is_for_account("root@example.net", "root@example.net"));
    }
}
