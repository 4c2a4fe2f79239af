//! Requests to any path of Vault, for features without their own request type: enrolling a host,
//! rotating a secret id.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tracing::Instrument as _;

pub use reqwest::Method;

use super::http::Request;
use super::{Vault, VaultError};
use crate::centre::VaultSettings;
use crate::secret::Secret;
use crate::spans;

/// An answer that Vault stores until this token opens it, once.
#[derive(Clone, Debug)]
pub struct Wrapped {
    pub token: Secret<String>,
    pub ttl: Duration,
}

impl Vault {
    /// Returns `data` (or `auth`) of the answer; null for an empty answer.
    ///
    /// `LIST` is [`Method::from_bytes`] of its name.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, VaultError> {
        let request = Request::new(method, path, body);
        let (answer, _) = self.call(&request).instrument(spans::query()).await?;
        data_of(&request, &answer)
    }

    pub async fn read(&self, path: &str) -> Result<Value, VaultError> {
        self.request(Method::GET, path, None).await
    }

    pub async fn list(&self, path: &str) -> Result<Value, VaultError> {
        // Not a method of HTTP; it always parses.
        let list = Method::from_bytes(b"LIST").unwrap_or(Method::GET);
        self.request(list, path, None).await
    }

    pub async fn write(&self, path: &str, body: &Value) -> Result<Value, VaultError> {
        self.request(Method::PUT, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Result<(), VaultError> {
        self.request(Method::DELETE, path, None).await.map(drop)
    }

    /// Sends a write request whose answer Vault stores for the returned token.
    pub async fn write_wrapped(
        &self,
        path: &str,
        body: &Value,
        ttl: Duration,
    ) -> Result<Wrapped, VaultError> {
        #[derive(Deserialize)]
        struct Answer {
            wrap_info: Info,
        }
        #[derive(Deserialize)]
        struct Info {
            token: String,
            ttl: u64,
        }
        let request = Request::new(Method::PUT, path, Some(body)).wrapped(ttl);
        let (answer, _) = self.call(&request).await?;
        let Answer { wrap_info } = request.read(&answer)?;
        Ok(Wrapped {
            token: Secret::new(wrap_info.token),
            ttl: Duration::from_secs(wrap_info.ttl),
        })
    }

    /// Opens the answer that a wrapping token stands for. Needs no other token, and works once.
    ///
    /// # Errors
    /// `WrapInvalid` when the token was already used or has expired. If a secret id was wrapped,
    /// another program may have it.
    pub async fn unwrap(
        settings: &VaultSettings,
        token: &Secret<String>,
    ) -> Result<Value, VaultError> {
        let transport = super::http::Transport::new(settings)?;
        let request = Request::new(Method::PUT, "sys/wrapping/unwrap", Some(&json!({})));
        match transport.send(Some(token), &request).await {
            Ok(answer) => data_of(&request, &answer),
            Err(VaultError::Denied { .. } | VaultError::Http { status: 400, .. }) => {
                Err(VaultError::WrapInvalid)
            }
            Err(other) => Err(other),
        }
    }

    /// Asks whether a wrapping token can still be opened. Needs no other token, and does not open it.
    ///
    /// # Errors
    /// `WrapInvalid` when the token was already used or has expired.
    pub async fn look_up_wrapped(
        settings: &VaultSettings,
        token: &Secret<String>,
    ) -> Result<(), VaultError> {
        let transport = super::http::Transport::new(settings)?;
        let body = json!({"token": token.expose()});
        let request = Request::new(Method::PUT, "sys/wrapping/lookup", Some(&body));
        match transport.send(None, &request).await {
            Ok(_) => Ok(()),
            Err(VaultError::Http { status: 400, .. }) => Err(VaultError::WrapInvalid),
            Err(other) => Err(other),
        }
    }
}

pub(super) fn data_of(request: &Request, answer: &[u8]) -> Result<Value, VaultError> {
    if answer.is_empty() {
        return Ok(Value::Null);
    }
    let mut answer: Value = request.read(answer)?;
    let data = answer["data"].take();
    Ok(if data.is_null() {
        answer["auth"].take()
    } else {
        data
    })
}
