//! Flags with the same meaning in most programs.
use super::Value;

/// Longest name in the table below.
const LONGEST: usize = 18;

/// Returns how the value of `flag` is masked in programs without their own rule for it.
pub(crate) fn any_flag(flag: &[u8]) -> Option<Value> {
    if flag.len() > LONGEST {
        return None;
    }
    let long = match flag {
        b"-u" | b"-U" => return Some(Value::Account),
        b"-l" | b"-a" | b"-A" => return Some(Value::LikelyAccount),
        b"-H" => return Some(Value::Header),
        [b'-', b'-', name @ ..] | [b'-', name @ ..] => name,
        _ => return None,
    };
    match long {
        b"user" | b"userpwd" | b"login" | b"proxy-user" | b"http-user" | b"httpuser"
        | b"proxyuser" | b"api-user" | b"account" | b"userid" => Some(Value::Account),
        b"auth" | b"authn" | b"authentication" | b"basic-auth" | b"basicauth" | b"http-auth"
        | b"httpauth" | b"proxy-auth" | b"auth-basic" | b"auth-cred" | b"auth-params"
        | b"web-auth" | b"auth-user-pass" | b"web.basic-auth" => Some(Value::Auth),
        b"header" | b"headers" | b"http-header" | b"add-header" | b"proxy-header" | b"hdr"
        | b"extra-header" | b"request-header" | b"custom-header" => Some(Value::Header),
        b"password-command"
        | b"passphrase-command"
        | b"pass-command"
        | b"passwordeval"
        | b"password-cmd"
        | b"pass-cmd"
        | b"passcommand"
        | b"token-command" => Some(Value::Printing),
        b"cookie" | b"cookies" => Some(Value::After(b'=')),
        b"pw" | b"pin" | b"so-pin" | b"user-pin" | b"new-pin" | b"old-pin" | b"puk"
        | b"new-puk" | b"admin-pin" | b"set-pin" | b"mfa-code" => Some(Value::Token),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Value, any_flag};

    #[test]
    fn flags_count_with_one_dash_and_with_two() {
        assert_eq!(any_flag(b"--user"), Some(Value::Account));
        assert_eq!(any_flag(b"-header"), Some(Value::Header));
        assert_eq!(any_flag(b"user"), None);
        assert_eq!(any_flag(b"--username"), None);
    }
}
