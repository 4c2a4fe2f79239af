//! The agent of one connection: one certificate, for one login to one host.
//!
//! It answers only a client that sends the host's signature of this connection, and signs only a login on it. Another
//! connection to the same host has another signature.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use russh::keys::signature::{Signer as _, Verifier as _};
use russh::keys::ssh_encoding::Encode as _;
use russh::keys::ssh_key::Signature;
use russh::keys::{Certificate, PublicKey};
use tokio::net::UnixStream;
use tokio::sync::watch;

use super::message::{self, Answer, Binding, Login, Request};
use super::socket_dir::Listener;
use crate::ssh_ca::principal::is_for_account;
use crate::ssh_ca::user_certificate::Credential;
use crate::ui::notice;

/// The certificate, available once its access-log row is committed.
pub(super) type Admitted = watch::Receiver<Option<Arc<Credential>>>;

/// The agent of a connection.
#[derive(Clone, Debug)]
pub(super) struct Agent {
    /// The host's signature over this connection's key exchange.
    pub(super) signature: Arc<[u8]>,
    pub(super) admitted: Admitted,
    pub(super) used: Arc<AtomicBool>,
}

impl Agent {
    /// Answers clients, for as long as the future is polled.
    pub(super) async fn serve(self, listener: Listener) {
        loop {
            let stream = listener.next().await;
            let agent = self.clone();
            // The task ends with its stream or with the process.
            tokio::spawn(async move { agent.talk(stream).await });
        }
    }

    async fn talk(mut self, mut stream: UnixStream) -> io::Result<()> {
        let mut session = None;
        while let Some(frame) = message::read(&mut stream).await? {
            let answer = match (Request::parse(&frame), &session) {
                (Request::Bind(binding), _) => {
                    session = self.session_of(binding);
                    if session.is_some() {
                        Answer::Success
                    } else {
                        Answer::Failure
                    }
                }
                (Request::Identities, Some(_)) => self.identities().await,
                (Request::Identities, None) => Answer::Identities(Vec::new()),
                (Request::Sign { key, data }, Some(session)) => {
                    self.sign(session, &key, &data).unwrap_or(Answer::Failure)
                }
                (Request::Sign { .. } | Request::Other, _) => Answer::Failure,
            };
            message::answer(&mut stream, &answer).await?;
        }
        Ok(())
    }

    /// Returns the session of a request; `None` if it is another one, or the request comes from a forwarded agent.
    fn session_of(&self, binding: Binding) -> Option<Vec<u8>> {
        let ours = !binding.forwarded && *binding.signature == *self.signature;
        (ours && is_signed(&binding)).then_some(binding.session)
    }

    async fn identities(&mut self) -> Answer {
        // If the sender is gone, the proxy has ended.
        let Ok(credential) = self.admitted.wait_for(Option::is_some).await else {
            return Answer::Identities(Vec::new());
        };
        let one = credential.as_ref().and_then(|credential| {
            let certificate = &credential.certificate;
            let comment = format!("vctl, serial {}", certificate.serial());
            Some((certificate.to_bytes().ok()?, comment))
        });
        Answer::Identities(one.into_iter().collect())
    }

    fn sign(&self, session: &[u8], key: &[u8], data: &[u8]) -> Option<Answer> {
        let credential = self.admitted.borrow().clone()?;
        let own = credential.certificate.to_bytes().ok()?;
        let login = Login::parse(data)?;
        if login.session != session || login.key != own || key != own {
            return None;
        }
        let principals = credential.certificate.valid_principals();
        if !principals
            .iter()
            .any(|name| is_for_account(name, &login.user))
        {
            let user = &login.user;
            let principals = principals.join("`, `");
            notice::note(&format!(
                "the certificate is for `{principals}`, but `ssh` logs in as `{user}`"
            ));
        }
        let signature = credential.key.try_sign(data).ok()?;
        let mut out = Vec::new();
        signature.encode(&mut out).ok()?;
        self.used.store(true, Ordering::Relaxed);
        Some(Answer::Signature(out))
    }
}

/// Returns whether the host's key signed the session, which is then the one of the relayed key exchange.
fn is_signed(binding: &Binding) -> bool {
    let key = match Certificate::from_bytes(&binding.host_key) {
        Ok(certificate) => certificate.public_key().clone(),
        Err(_) => match PublicKey::from_bytes(&binding.host_key) {
            Ok(key) => key.key_data().clone(),
            Err(_) => return false,
        },
    };
    let signature = Signature::try_from(&*binding.signature);
    signature.is_ok_and(|signature| key.verify(&binding.session, &signature).is_ok())
}
