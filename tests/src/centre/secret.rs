//! Secrets that are made for one centre and end with it.

use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// A password, token or key. It has no `Debug`, so a failed assertion cannot print it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Makes a secret of 128 bits: 32 hexadecimal digits, which need no quotes in a shell or connection string.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; 16];
        let mut source = File::open("/dev/urandom").context("cannot open `/dev/urandom`")?;
        source.read_exact(&mut bytes)?;
        Ok(Self(format!("{:032x}", u128::from_be_bytes(bytes))))
    }

    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}
