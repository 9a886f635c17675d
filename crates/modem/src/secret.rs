//! Secrets: the SIM's PIN and the passwords of access points.
//!
//! A secret is either held in memory that is overwritten when it is dropped, or it is fetched each time
//! it is needed, and then held only until it is sent.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::failure::Failure;

/// Function that fetches a secret, from a file or from another process.
type Ask = dyn Fn() -> Result<Zeroizing<String>, Failure> + Send + Sync;

/// Password or PIN, which is kept out of every print and every file this program writes.
#[derive(Clone, Default)]
pub struct Secret(Source);

#[derive(Clone, Default)]
enum Source {
    #[default]
    None,
    Here(Zeroizing<String>),
    Asked(Arc<Ask>),
}

impl Secret {
    /// Wraps a text, which stays in memory as long as the value or a clone of it lives. An empty text
    /// counts as no secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        let text = Zeroizing::new(text.into());
        match text.is_empty() {
            true => Self::default(),
            false => Self(Source::Here(text)),
        }
    }

    /// Returns a secret that `ask` fetches each time it is needed.
    #[must_use]
    pub fn asked_for(
        ask: impl Fn() -> Result<Zeroizing<String>, Failure> + Send + Sync + 'static,
    ) -> Self {
        Self(Source::Asked(Arc::new(ask)))
    }

    /// Returns the text. It is empty when there is no secret.
    ///
    /// # Errors
    /// The failure of the function that fetches it.
    pub fn reveal(&self) -> Result<Zeroizing<String>, Failure> {
        match &self.0 {
            Source::None => Ok(Zeroizing::default()),
            Source::Here(text) => Ok(text.clone()),
            Source::Asked(ask) => ask(),
        }
    }

    /// Returns the text if it is in memory.
    pub(crate) fn here(&self) -> Option<&str> {
        match &self.0 {
            Source::Here(text) => Some(text),
            Source::None | Source::Asked(_) => None,
        }
    }

    /// Returns whether there is no secret.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        matches!(self.0, Source::None)
    }
}

/// Fetched secrets are equal when they are fetched by the same function, whatever it returns.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Source::None, Source::None) => true,
            (Source::Here(one), Source::Here(two)) => one == two,
            (Source::Asked(one), Source::Asked(two)) => Arc::ptr_eq(one, two),
            _ => false,
        }
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Source::None => "(none)",
            Source::Here(_) | Source::Asked(_) => "(hidden)",
        })
    }
}

/// Writes an empty text in place of the secret.
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// Size in bytes of the stack that functions working on a secret may have used.
const USED: usize = 32 * 1024;

/// Overwrites the part of the stack below the caller, where functions that it called may have left
/// pieces of a secret: saved registers, states of hash functions.
#[inline(never)]
pub(crate) fn scrub_stack() {
    let mut room = [0u8; USED];
    zeroize::Zeroize::zeroize(&mut room[..]);
    std::hint::black_box(&room);
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_secret_that_is_asked_for_is_fetched_each_time() {
        let asked = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&asked);
        let secret = Secret::asked_for(move || {
            let number = 4711 + counter.fetch_add(1, Ordering::Relaxed);
            Ok(Zeroizing::new(number.to_string()))
        });
        assert!(!secret.is_empty() && secret.here().is_none());
        assert_eq!(*secret.clone().reveal().unwrap(), "4711");
        assert_eq!(*secret.reveal().unwrap(), "4712");
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        assert_eq!(secret, secret.clone());
        assert_ne!(secret, Secret::asked_for(|| Ok(Zeroizing::default())));
    }

    #[test]
    fn prints_and_files_show_none() {
        for secret in [
            Secret::new("4711"),
            Secret::asked_for(|| Ok(Zeroizing::new("4711".to_owned()))),
        ] {
            assert_eq!(format!("{secret:?}"), "(hidden)");
            assert_eq!(serde_json::to_string(&secret).unwrap(), "\"\"");
        }
        let read: Secret = serde_json::from_str("\"4711\"").unwrap();
        assert_eq!(read, Secret::new("4711"));
        assert!(serde_json::from_str::<Secret>("\"\"").unwrap().is_empty());
        assert_eq!(format!("{:?}", Secret::new("")), "(none)");
        assert!(Secret::default().reveal().unwrap().is_empty());
    }
}
