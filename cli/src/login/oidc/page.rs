//! The page in the browser at the end of the login. It runs no scripts and loads nothing.

use std::sync::LazyLock;

use base64ct::{Base64, Encoding as _};
use hyper::StatusCode;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use sha2::{Digest as _, Sha256};

use crate::ui::sanitize;

const STYLE: &str = include_str!("page.css");

/// Content security policy: allows only the style below. The page's address contains a code and must not leak.
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let style = Base64::encode_string(&Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).ok()
});

/// One page.
#[derive(Debug)]
pub(super) struct LoginPage {
    status: StatusCode,
    title: &'static str,
    text: String,
}

impl LoginPage {
    pub(super) fn logged_in() -> Self {
        Self {
            status: StatusCode::OK,
            title: "You are logged in",
            text: "You can close this window and return to the terminal.".to_owned(),
        }
    }

    pub(super) fn failed(why: &str) -> Self {
        Self {
            status: StatusCode::OK,
            title: "The login failed",
            text: why.to_owned(),
        }
    }

    /// The page for requests that do not belong to this login.
    pub(super) fn unexpected_login() -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            title: "This is not the expected login",
            text: "It belongs to another login, or was already used. Open the address in the terminal.".to_owned(),
        }
    }

    pub(super) fn not_found() -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            title: "Not found",
            text: "This server only accepts the end of a vctl login.".to_owned(),
        }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn headers() -> HeaderMap {
        let fixed = [
            (CONTENT_TYPE, "text/html; charset=utf-8"),
            (CACHE_CONTROL, "no-store"),
            (REFERRER_POLICY, "no-referrer"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        let fixed = fixed.map(|(name, value)| (name, HeaderValue::from_static(value)));
        let policy = POLICY
            .clone()
            .map(|policy| (CONTENT_SECURITY_POLICY, policy));
        fixed.into_iter().chain(policy).collect()
    }

    pub(super) fn html(&self) -> String {
        let (class, mark) = if self.title == Self::logged_in().title {
            ("good", "M4 12.5l5 5L20 6.5")
        } else {
            ("bad", "M6 6l12 12M18 6L6 18")
        };
        let (title, text) = (self.title, escape(&sanitize::text(&self.text)));
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title} - vctl</title>\
             <meta name=\"viewport\" content=\"width=device-width\"><link rel=\"icon\" href=\"data:,\">\
             <style>{STYLE}</style></head><body><main class=\"{class}\">\
             <svg viewBox=\"0 0 24 24\" aria-hidden=\"true\"><path d=\"{mark}\"/></svg>\
             <h1>{title}</h1><p>{text}</p><footer>vctl login</footer></main></body></html>\n"
        )
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_is_escaped_in_the_page() {
        let page = LoginPage::failed("</p><script>alert(1)</script>\u{202e}&amp;'\"").html();
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("&lt;script&gt;alert(1)"), "{page}");
        assert!(page.contains("\\u202e&amp;amp;&#39;&quot;</p>"), "{page}");
    }

    #[test]
    fn a_page_loads_and_keeps_nothing() {
        let headers = LoginPage::headers();
        let policy = headers[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(
            policy.starts_with("default-src 'none'; style-src 'sha256-"),
            "{policy}"
        );
        assert_eq!(headers[CACHE_CONTROL], "no-store");
    }
}
