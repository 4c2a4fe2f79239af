//! The code of a Rust file without its comments and tests, for the rules about imports.

/// Returns the text without its comments, its test modules, and single lines that only tests have.
pub(crate) fn without_tests(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line != "#[cfg(test)]" {
            code.push_str(line.split("//").next().unwrap_or_default());
            code.push('\n');
            continue;
        }
        let Some(item) = lines.next() else { break };
        // rustfmt ends an item of a file with a line of its own.
        if !item.ends_with(';') && !item.ends_with('}') {
            lines.find(|line| line.starts_with('}') || *line == ");");
        }
    }
    code
}

#[cfg(test)]
mod tests {
    use super::without_tests;

    #[test]
    fn only_tests_and_comments_are_left_out() {
        let text = "\
//! What it does
#[cfg(test)]
mod apart;
use a::A; // because
#[cfg(test)]
pub(crate) mod within {
    use b::B;
}
use c::C;
#[cfg(test)]
use d::D;
fn f() {}
";
        let code = without_tests(text);
        let code: Vec<_> = code.lines().map(str::trim).collect();
        assert_eq!(code, ["", "use a::A;", "use c::C;", "fn f() {}"]);
    }
}
