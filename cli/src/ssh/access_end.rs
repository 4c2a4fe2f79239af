//! The end of an access, as the access log records it.

use serde_json::{Value, json};
use vctl_common::causes::WithCauses;

use super::access_store::{ERROR_LENGTH, cut};
use super::error::SshError;

/// End of a connection, as recorded in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    result: &'static str,
    exit_code: Option<u8>,
    error: Option<String>,
}

impl End {
    /// The remote command exited with this status.
    pub(crate) fn exited(code: u8) -> Self {
        Self {
            result: "ok",
            exit_code: Some(code),
            error: None,
        }
    }

    /// The connection was open, and the exit status of the remote command is not known.
    pub(crate) fn closed(why: Option<String>) -> Self {
        Self {
            result: "closed",
            exit_code: None,
            error: why,
        }
    }

    pub(crate) fn of(error: &SshError) -> Self {
        let result = if error.is_refusal() {
            "refused"
        } else {
            "failed"
        };
        Self {
            result,
            exit_code: None,
            error: Some(WithCauses(error).to_string()),
        }
    }

    /// The connection began from cached hosts, and the lookup did not confirm it: no host got a certificate.
    pub(crate) fn not_confirmed(why: String) -> Self {
        Self {
            result: "failed",
            exit_code: None,
            error: Some(why),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let error = self.error.as_deref().map(|error| cut(error, ERROR_LENGTH));
        json!({"result": self.result, "exit_code": self.exit_code, "error": error})
    }
}
