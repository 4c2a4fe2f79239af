//! Inputs that all routes of a connection share: known keys, the access log, certificates.

use std::cell::OnceCell;
use std::time::Duration;

use tokio::sync::mpsc;
use vctl_common::vault::Vault;

use super::access::AccessLog;
use super::confirmation::Confirmation;
use super::first_channel::FirstChannel;
use super::handler::Inbound;
use super::host_key::HostKeys;
use super::route_plan::{RoutePlan, SigningRole, Target};
use super::signing::{self, RequestedCertificate, Signing};
use crate::error::CliError;
use crate::exit_code::Exit;
use crate::ssh_ca::user_certificate::{Credential, Extensions, UserCertificateRequest};
use crate::ui::notice;

/// Inputs of the routes of one plan.
pub(crate) struct ConnectContext<'a> {
    pub(crate) keys: HostKeys<'a>,
    pub(crate) access: &'a AccessLog<'a>,
    pub(crate) issuer: Issuer,
    /// The target's certificate, once a route has requested it. All routes use the same one: only one of them logs in.
    pub(crate) target_certificate: OnceCell<RequestedCertificate>,
    pub(crate) confirmation: Confirmation<'a>,
    /// The channel of the target that is requested with the login.
    pub(crate) first_channel: FirstChannel,
    /// Receives the channels that the target opens.
    pub(crate) inbound: mpsc::Sender<Inbound>,
    /// How long a server may be silent before it is asked for an answer.
    pub(crate) keepalive: Duration,
}

impl ConnectContext<'_> {
    /// Requests the certificates of a route, all at the same time. The access log has them also if the route is dropped.
    pub(crate) fn sign(&self, jumps: &[Target], plan: &RoutePlan) -> Signing {
        let of_jump = |jump| self.issuer.request(jump, Extensions::JUMP);
        let of_target = || self.issuer.request(&plan.target, self.issuer.extensions);
        let own = self.target_certificate.get_or_init(of_target).clone();
        let hops = jumps.iter().map(of_jump).chain([own]).collect();
        let signing = Signing::new(jumps, &plan.target, hops);
        self.access.sign(&signing);
        signing
    }
}

/// Requests certificates from Vault.
#[derive(Clone)]
pub(crate) struct Issuer {
    pub(crate) vault: Vault,
    /// Lifetime of certificates for all hosts. The role of a scope has its own.
    pub(crate) ttl: Duration,
    /// Extensions for the target's certificate.
    pub(crate) extensions: Extensions,
}

impl Issuer {
    /// Returns the request for a certificate, which starts when it is awaited.
    fn request(&self, target: &Target, extensions: Extensions) -> RequestedCertificate {
        let (issuer, target) = (self.clone(), target.clone());
        signing::request(async move { issuer.issue(&target, extensions).await })
    }

    /// Requests a certificate from each role of the target until one signs.
    ///
    /// # Errors
    /// The error of the first role.
    async fn issue(&self, target: &Target, extensions: Extensions) -> Result<Credential, CliError> {
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
        notice::waiting(Credential::issue(&self.vault, &wish)).await
    }
}
