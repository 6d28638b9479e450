//! Bearer tokens.

use std::{
    fmt::{self, Write as _},
    fs::File,
    io::Read as _,
};

use anyhow::{Context as _, Result};

/// A bearer token; its `Debug` does not show it.
#[derive(Clone)]
pub(super) struct Token(pub(super) String);

// === impl Token ===

impl Token {
    /// 256 bits from the kernel.
    pub(super) fn random() -> Result<Self> {
        let mut bytes = [0; 32];
        File::open("/dev/urandom")
            .and_then(|mut source| source.read_exact(&mut bytes))
            .context("no random bytes")?;
        let mut text = String::new();
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        Ok(Self(text))
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
