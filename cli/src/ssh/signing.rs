//! The certificates of one attempt, while Vault signs them.
//!
//! Vault signs a request that it has received, also when its client no longer waits for the answer. So a request does not
//! end with the route that needed it: the access log holds it too, and records the serial.

use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{LocalBoxFuture, Shared, join_all, try_join_all};
use tokio::time::timeout;
use uuid::Uuid;

use super::route_plan::Target;
use crate::error::CliError;
use crate::ssh_ca::user_certificate::Credential;

/// A certificate that was requested. Clones share the request, which continues while one of them is awaited.
pub(crate) type RequestedCertificate =
    Shared<LocalBoxFuture<'static, Result<Credential, CliError>>>;

/// Starts a request with its first poll.
pub(super) fn request(
    issuing: impl Future<Output = Result<Credential, CliError>> + 'static,
) -> RequestedCertificate {
    issuing.boxed_local().shared()
}

/// The requests of one attempt, one for each hop in order, the target's last.
#[derive(Clone, Debug)]
pub(crate) struct Signing {
    pub(super) id: Uuid,
    pub(super) jumps: Vec<Target>,
    pub(super) target: Target,
    hops: Vec<RequestedCertificate>,
}

impl Signing {
    pub(super) fn new(jumps: &[Target], target: &Target, hops: Vec<RequestedCertificate>) -> Self {
        Self {
            id: Uuid::now_v7(),
            jumps: jumps.to_vec(),
            target: target.clone(),
            hops,
        }
    }

    /// Returns the certificates of all hops.
    ///
    /// # Errors
    /// The first error of a hop.
    pub(crate) async fn certificates(&self) -> Result<Vec<Credential>, CliError> {
        try_join_all(self.hops.iter().cloned()).await
    }

    /// Returns for each hop the certificate that Vault has signed within the limit, if it has.
    pub(super) async fn signed_within(&self, limit: Option<Duration>) -> Vec<Option<Credential>> {
        let within = async |hop: RequestedCertificate| match limit {
            None => hop.await.ok(),
            Some(limit) => timeout(limit, hop).await.ok()?.ok(),
        };
        join_all(self.hops.iter().map(|hop| within(hop.clone()))).await
    }

    /// Returns whether the other attempt uses all certificates of this one.
    pub(super) fn is_part_of(&self, other: &Self) -> bool {
        let is_in_other = |hop: &RequestedCertificate| other.hops.iter().any(|one| one.ptr_eq(hop));
        self.hops.len() < other.hops.len() && self.hops.iter().all(is_in_other)
    }
}
