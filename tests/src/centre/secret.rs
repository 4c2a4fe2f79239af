//! Secrets made for one centre and thrown away with it.

use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// A password, token or key; it has no `Debug`, so no failure shows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Makes one of 128 bits: 32 hexadecimal digits, which no shell or connection string has to quote.
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
