//! The lookup's answer, for a connection that began from cached hosts.

use tokio::sync::SetOnce;

use super::route_plan::RoutePlan;

/// Whether the lookup has confirmed the plan of a connection.
///
/// A connection waits for it before it does anything that a host or a user notices: it sends no user name and no
/// certificate, asks no question and stores no key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Confirmation<'a>(Option<&'a SetOnce<RoutePlan>>);

impl<'a> Confirmation<'a> {
    /// The plan is the answer of the lookup.
    pub(crate) const GIVEN: Self = Self(None);

    /// The plan is from cached hosts, until the cell has the one that the lookup returned for the same route.
    pub(crate) const fn awaited(cell: &'a SetOnce<RoutePlan>) -> Self {
        Self(Some(cell))
    }

    /// Waits for the confirmation. Returns the plan of the lookup if the connection began with a cached one.
    pub(crate) async fn wait(&self) -> Option<&'a RoutePlan> {
        match self.0 {
            Some(cell) => Some(cell.wait().await),
            None => None,
        }
    }
}
