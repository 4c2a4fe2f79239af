//! One enrolment of a host, identified by its AppRole.

use std::fmt;

use crate::host::HostName;

/// Name of the AppRole of one enrolment; the names of the host's database roles end in it.
///
/// `web-2.1f2e3d4c`: the host's name, a dot, and the generation in eight hex digits. Each enrolment
/// has its own generation, so a token or a secret id of an earlier enrolment leads to deleted
/// roles. Older versions of vctl gave no generation; their AppRole has the name of the host.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Enrolment(String);

impl Enrolment {
    /// Returns the enrolment of `host` with this generation.
    pub fn new(host: &HostName, generation: u32) -> Self {
        Self(format!("{host}.{generation:08x}"))
    }

    /// Returns an enrolment by an older vctl, which has no generation.
    pub fn without_generation(host: &HostName) -> Self {
        Self(host.as_str().to_owned())
    }

    /// Returns the enrolment with this AppRole, or `None` when the AppRole does not belong to
    /// `host`.
    ///
    /// `web-2.1f2e3d4c` may also be the AppRole, without a generation, of a host with that whole
    /// name. Only its database roles show the difference.
    pub fn of_host(host: &HostName, approle: &str) -> Option<Self> {
        let is_ours = approle == host.as_str() || Self::host_part(approle) == Some(host.as_str());
        is_ours.then(|| Self(approle.to_owned()))
    }

    /// Returns the part of an AppRole before its generation, or `None` for a name without one.
    pub fn host_part(approle: &str) -> Option<&str> {
        let (host, generation) = approle.rsplit_once('.')?;
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        (generation.len() == 8 && generation.bytes().all(hex)).then_some(host)
    }

    pub fn approle(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approle_of_another_host_is_no_enrolment() {
        let host: HostName = "web-2".parse().unwrap();
        let ours = Enrolment::new(&host, 0x1f);
        assert_eq!(ours.approle(), "web-2.0000001f");
        for name in ["web-2", "web-2.0000001f", "web-2.deadbeef"] {
            let found = Enrolment::of_host(&host, name).unwrap();
            assert_eq!(found.approle(), name);
        }
        for name in [
            "",
            "web-20",
            "web-2x",
            "web-2x.deadbeef",
            "web-2.",
            "web-2.deadbee",
            "web-2.deadbeef0",
            "web-2.DEADBEEF",
            "web-2.example",
            "web-2.deadbeef.0000001f",
            "web-2-deadbeef",
            "xweb-2.deadbeef",
            "web-2.deadbeeé",
        ] {
            assert_eq!(Enrolment::of_host(&host, name), None, "{name}");
        }
    }
}
