//! Settings of sshd that matter here, from `sshd -T` or its files. No I/O.

use super::facts::SshdFact;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SshdSettings {
    pub(super) use_pam: Option<bool>,
    /// The PAM service. A setting since OpenSSH 9.8; before that, the program's name.
    pub(super) pam_service: Option<String>,
}

impl SshdSettings {
    /// Returns the PAM service of sshd's logins.
    pub(super) fn service(&self) -> &str {
        self.pam_service.as_deref().unwrap_or("sshd")
    }
}

/// Reads the settings. The first occurrence of a keyword counts; keywords under `Match` apply only
/// to some logins. Source: sshd_config(5).
pub(super) fn settings(sshd: &SshdFact) -> SshdSettings {
    let texts = match sshd {
        SshdFact::NotInstalled => &[][..],
        SshdFact::Effective(text) => std::slice::from_ref(text),
        SshdFact::Files(texts) => texts,
    };
    let mut settings = SshdSettings::default();
    for text in texts {
        for (keyword, value) in text.lines().filter_map(keyword) {
            match keyword.as_str() {
                "match" => break,
                "usepam" => {
                    settings
                        .use_pam
                        .get_or_insert(value.eq_ignore_ascii_case("yes"));
                }
                "pamservicename" => {
                    settings.pam_service.get_or_insert_with(|| value.to_owned());
                }
                _ => {}
            }
        }
    }
    settings
}

/// Splits `Keyword value` or `Keyword=value`; returns the keyword in lower case.
fn keyword(line: &str) -> Option<(String, &str)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let end = line
        .find(|c: char| c.is_ascii_whitespace() || c == '=')
        .unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    let value = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '=');
    Some((keyword.to_ascii_lowercase(), value.trim().trim_matches('"')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_two_counts_and_match_ends_a_file() {
        let files = SshdFact::Files(vec![
            "# UsePAM no\nMatch User git\n  UsePAM no\n".to_owned(),
            "Port=22\nusepam = \"yes\"\nUsePAM no\n".to_owned(),
        ]);
        assert_eq!(settings(&files).use_pam, Some(true));
    }

    #[test]
    fn what_is_not_written_is_not_known() {
        assert_eq!(
            settings(&SshdFact::Files(vec!["Port 22\n".to_owned()])).use_pam,
            None
        );
        assert_eq!(settings(&SshdFact::NotInstalled), SshdSettings::default());
    }

    #[test]
    fn the_effective_configuration_names_the_service() {
        let effective =
            SshdFact::Effective("port 22\nusepam yes\npamservicename corp-ssh\n".to_owned());
        let settings = settings(&effective);
        assert_eq!(
            (settings.use_pam, settings.pam_service.as_deref()),
            (Some(true), Some("corp-ssh"))
        );
    }
}
