//! Inputs that all routes of a connection share: known keys, the access log, certificates.

use std::time::Duration;

use tokio::sync::mpsc;
use vctl_common::vault::Vault;

use super::access::AccessLog;
use super::confirmation::Confirmation;
use super::first_channel::FirstChannel;
use super::handler::Inbound;
use super::host_key::HostKeys;
use super::route_plan::{SigningRole, Target};
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::ssh_ca::user_certificate::{Credential, Extensions, UserCertificateRequest};
use crate::ui::notice;

/// Inputs of every route.
pub(crate) struct ConnectContext<'a> {
    pub(crate) keys: HostKeys<'a>,
    pub(crate) access: &'a AccessLog<'a>,
    pub(crate) issuer: Issuer<'a>,
    pub(crate) confirmation: Confirmation<'a>,
    /// The channel of the target that is requested with the login.
    pub(crate) first_channel: FirstChannel,
    /// Receives the channels that the target opens.
    pub(crate) inbound: mpsc::Sender<Inbound>,
    /// How long a server may be silent before it is asked for an answer.
    pub(crate) keepalive: Duration,
}

/// Requests certificates from Vault.
pub(crate) struct Issuer<'a> {
    pub(crate) vault: &'a Vault,
    /// Lifetime of certificates for all hosts. The role of a scope has its own.
    pub(crate) ttl: Duration,
    /// Extensions for the target's certificate.
    pub(crate) extensions: Extensions,
}

impl Issuer<'_> {
    /// Requests a certificate from each role of the target until one signs.
    ///
    /// # Errors
    /// The error of the first role.
    pub(crate) async fn issue(
        &self,
        target: &Target,
        extensions: Extensions,
    ) -> Result<Credential, CliError> {
        let mut refused = None;
        for role in &target.roles {
            match self.issue_with(role, target, extensions).await {
                // Vault allows this user other roles: only it knows which.
                Err(error) if matches!(error.exit, Exit::Permission | Exit::Config) => {
                    refused.get_or_insert(error);
                }
                issued => return issued,
            }
        }
        Err(refused.unwrap_or_else(|| {
            let message = format!("no role of Vault signs for `{}`", target.name);
            CliError::new(Exit::Config, message)
        }))
    }

    async fn issue_with(
        &self,
        role: &SigningRole,
        target: &Target,
        extensions: Extensions,
    ) -> Result<Credential, CliError> {
        let wish = UserCertificateRequest {
            mount: &target.mount,
            role: &role.name,
            role_from: &role.from,
            user: &target.user,
            principal: &role.principal(&target.user),
            ttl: role.scope.is_none().then_some(self.ttl),
            extensions,
            host_ahead: target.clock_offset_s,
        };
        notice::waiting(Credential::issue(self.vault, &wish)).await
    }
}
