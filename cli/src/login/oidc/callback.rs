//! Parses the answer of the browser, and ignores requests from other sources.

use subtle::ConstantTimeEq as _;
use url::form_urlencoded;
use vctl_common::secret::Secret;

use crate::error::CliError;
use crate::exit_code::Exit;

/// The authorization code for Vault, or an error.
pub(super) type Answer = Result<Secret<String>, CliError>;

/// An answer without the state of this login: it belongs to another login, or is forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ForeignAnswer;

/// Parses the parameters of an answer, from the query of a GET or the form of a POST.
///
/// Any page and any local program can make the browser request that address. So an answer without the state
/// changes nothing. An answer with the state ends the login, whatever its other parameters are.
pub(super) fn read(parameters: &[u8], state: &Secret<String>) -> Result<Answer, ForeignAnswer> {
    let [mut given, mut code, mut error, mut description] = [const { None::<String> }; 4];
    let (mut states, mut is_repeated) = (0, false);
    for (name, value) in form_urlencoded::parse(parameters) {
        let place = match &*name {
            "state" => {
                states += 1;
                &mut given
            }
            "code" => &mut code,
            "error" => &mut error,
            "error_description" => &mut description,
            _ => continue,
        };
        is_repeated |= place.replace(value.into_owned()).is_some();
    }
    // Constant time, so that the duration does not reveal the state.
    let is_ours = |given: String| bool::from(given.as_bytes().ct_eq(state.expose().as_bytes()));
    if states != 1 || !given.is_some_and(is_ours) {
        return Err(ForeignAnswer);
    }
    let filled = |value: Option<String>| value.filter(|value| !value.is_empty());
    Ok(match (filled(error), filled(code)) {
        (Some(error), _) => Err(refusal(&error, filled(description).as_deref())),
        _ if is_repeated => Err(malformed("a parameter of the answer is duplicated")),
        (None, Some(code)) => Ok(Secret::new(code)),
        (None, None) => Err(malformed("the answer has neither `code` nor `error`")),
    })
}

/// Returns the error for an answer of this login that is not valid.
fn malformed(why: &str) -> CliError {
    let message = format!("cannot use the answer of the identity provider: {why}");
    CliError::new(Exit::Failure, message)
        .hint("the provider must return an authorization code: `response_type=code`")
}

/// Returns the error of the provider. The caller escapes the text.
fn refusal(error: &str, description: Option<&str>) -> CliError {
    let said = match description {
        Some(description) => format!("{description} ({error})"),
        None => error.to_owned(),
    };
    let shown: String = said.chars().take(500).collect();
    let message = format!("the identity provider refused the login: {shown}");
    CliError::new(Exit::Permission, message)
        .hint("run `vctl login` again; the identity provider decides which users may log in")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_here(query: &str) -> Result<Result<String, String>, ForeignAnswer> {
        let answer = read(query.as_bytes(), &Secret::new("st_1".to_owned()))?;
        Ok(answer
            .map(|code| code.expose().clone())
            .map_err(|refusal| refusal.message))
    }

    #[test]
    fn a_code_needs_the_state_of_this_login() {
        let ours = Ok(Ok("a b+c".to_owned()));
        assert_eq!(read_here("code=a+b%2Bc&state=st_1"), ours);
        assert_eq!(
            read_here("state=st_1&code=a%20b%2bc&scope=openid&iss=x"),
            ours
        );
        for query in [
            "",
            "code=a",
            "code=a&state=",
            "code=a&state=st_2",
            "code=a&state=st_1x",
            "code=a&State=st_1",
            "error=access_denied",
            "error=access_denied&state=st_2",
            "state=st_2&state=st_1&code=a",
            "state=st_1&state=st_1&code=a",
        ] {
            assert_eq!(read_here(query), Err(ForeignAnswer), "{query}");
        }
    }

    #[test]
    fn an_answer_without_a_code_is_an_error_with_a_reason() {
        for query in [
            "state=st_1",
            "state=st_1&code=",
            "state=st_1&error=&code=",
            "state=st_1&id_token=x",
            "state=st_1&code=a&code=b",
        ] {
            let message = read_here(query).unwrap().unwrap_err();
            assert!(
                message.starts_with("cannot use the answer"),
                "{query}: {message}"
            );
        }
    }

    #[test]
    fn a_refusal_has_the_text_of_the_provider() {
        let message = |query: &str| read_here(query).unwrap().unwrap_err();
        let said = message("error=access_denied&error_description=not+in+the+group&state=st_1");
        assert!(said.ends_with("not in the group (access_denied)"), "{said}");
        let said = message("state=st_1&error=server_error&code=a");
        assert!(said.ends_with(": server_error"), "{said}");
        let long = format!("state=st_1&error={}", "x".repeat(10_000));
        assert!(message(&long).len() < 600);
    }

    fn query_of(pairs: &[(String, String)]) -> String {
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish()
    }

    proptest! {
        #[test]
        fn an_answer_without_the_state_is_ignored(query in ".{0,200}", state in "[A-Za-z0-9_]{8,40}") {
            prop_assume!(!query.contains(&state));
            prop_assert!(read(query.as_bytes(), &Secret::new(state)).is_err());
        }

        #[test]
        fn a_code_arrives_unchanged(
            code in ".{1,100}",
            state in ".{1,40}",
            others in prop::collection::vec(("x[a-z]{0,8}", ".{0,20}"), 0..4),
        ) {
            let mut pairs = others;
            pairs.push(("code".to_owned(), code.clone()));
            pairs.push(("state".to_owned(), state.clone()));
            let read = read(query_of(&pairs).as_bytes(), &Secret::new(state));
            let arrived = read.ok().and_then(Result::ok);
            prop_assert_eq!(arrived.map(|arrived| arrived.expose().clone()), Some(code));
        }

        #[test]
        fn a_duplicate_state_is_ignored(code in "[a-z]{1,9}", state in ".{1,40}") {
            let pairs = [("state", &state), ("code", &code), ("state", &state)];
            let pairs = pairs.map(|(name, value)| (name.to_owned(), value.clone()));
            prop_assert!(read(query_of(&pairs).as_bytes(), &Secret::new(state)).is_err());
        }
    }
}
