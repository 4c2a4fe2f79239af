//! The control of a PAM line: the action of each result of its module. No I/O.

/// Returns the action that a control names for a result of its module, such as `success` or `system_err`. A number is
/// the count of next modules to skip. Source: `_parse_config_file` and `_pam_parse_control` of Linux-PAM.
pub(super) fn action<'a>(control: &'a str, result: &str) -> Option<&'a str> {
    let of_word: &[(&str, &str)] = match control.to_ascii_lowercase().as_str() {
        "required" => &[("success", "ok"), ("default", "bad")],
        "requisite" => &[("success", "ok"), ("default", "die")],
        "sufficient" => &[("success", "done"), ("default", "ignore")],
        "optional" => &[("success", "ok"), ("default", "ignore")],
        _ => &[],
    };
    let listed = of_word.iter().copied();
    let pairs: Vec<(&str, &str)> = listed.chain(pairs(control)).collect();
    let of = |name: &str| pairs.iter().find(|(result, _)| *result == name);
    of(result)
        .or_else(|| of("default"))
        .map(|(_, action)| *action)
}

/// Returns the counts of modules that results skip: `[success=1 default=ignore]`.
pub(super) fn jumps(control: &str) -> impl Iterator<Item = usize> {
    let counts = pairs(control).filter_map(|(_, action)| action.parse().ok());
    counts.filter(|skipped| *skipped > 0)
}

/// Returns the pairs of `[success=1 default=ignore]`. Blanks around `=` are allowed.
fn pairs(control: &str) -> impl Iterator<Item = (&str, &str)> {
    let inside = control
        .strip_prefix('[')
        .map(|rest| rest.strip_suffix(']').unwrap_or(rest));
    let mut rest = inside.unwrap_or_default();
    std::iter::from_fn(move || {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let end = after.find(char::is_whitespace).unwrap_or(after.len());
        rest = &after[end..];
        Some((name.trim(), &after[..end]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_brackets_name_the_action_of_a_result() {
        for (control, success, system_err) in [
            ("required", Some("ok"), Some("bad")),
            ("Requisite", Some("ok"), Some("die")),
            ("SUFFICIENT", Some("done"), Some("ignore")),
            ("optional", Some("ok"), Some("ignore")),
            (
                "[success=done default=ignore]",
                Some("done"),
                Some("ignore"),
            ),
            ("[default=done]", Some("done"), Some("done")),
            ("[ success = 2  system_err= bad ]", Some("2"), Some("bad")),
            ("[success=ok]", Some("ok"), None),
            ("include", None, None),
        ] {
            assert_eq!(action(control, "success"), success, "{control}");
            assert_eq!(action(control, "system_err"), system_err, "{control}");
        }
    }

    #[test]
    fn jumps_are_the_numbers_of_all_results() {
        let found = |control: &str| jumps(control).collect::<Vec<_>>();
        assert_eq!(
            found("[success=1 new_authtok_reqd = 3 default=ignore]"),
            [1, 3]
        );
        assert_eq!(found("[success=0 default=die]"), [0; 0]);
        assert_eq!(found("required"), [0; 0]);
    }
}
