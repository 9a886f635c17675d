//! The name and password that clients of a proxy have to give.

use std::fs::File;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::failure::{Failure, FailureKind};
use crate::secrets;

/// A name and a password.
pub struct Login(Zeroizing<String>);

impl Login {
    /// Reads `NAME:PASSWORD` from the first line of a file.
    ///
    /// # Errors
    /// [`FailureKind::Usage`] when the file cannot be read or does not hold a login.
    pub fn from_file(path: &Path) -> Result<Self, Failure> {
        let text = secrets::read(File::open(path), path, "login", "--proxy-login-file")?;
        // RFC 1929 has an octet for the length of each.
        let parts = text.split_once(':');
        let fits = |part: &str| (1..=255).contains(&part.len());
        if parts.is_some_and(|(name, password)| fits(name) && fits(password)) {
            return Ok(Self(text));
        }
        Err(
            Failure::new(FailureKind::Usage, "the file does not hold a login")
                .at(format!("{} (--proxy-login-file)", path.display()))
                .because("it is NAME:PASSWORD alone on the first line, each of 1 to 255 bytes"),
        )
    }

    /// Returns whether these are the name and the password. The time that takes does not reveal how
    /// much of them is right.
    pub fn is(&self, name: &[u8], password: &[u8]) -> bool {
        let given = Zeroizing::new([name, b":", password].concat());
        same(&given, self.0.as_bytes())
    }

    /// Returns whether the value of a Proxy-Authorization field (RFC 7617) has the login.
    pub fn is_in(&self, field: &[u8]) -> bool {
        let Some((scheme, rest)) = field.split_at_checked(6) else {
            return false;
        };
        let given = STANDARD.decode(rest.trim_ascii()).map(Zeroizing::new);
        scheme.eq_ignore_ascii_case(b"basic ")
            && given.is_ok_and(|given| same(&given, self.0.as_bytes()))
    }
}

/// Compares bytes without ending at the first difference.
fn same(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b));
    one.len() == other.len() && std::hint::black_box(differences) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_login_is_the_login() {
        let login = Login(Zeroizing::new("aladdin:open sesame".to_owned()));
        assert!(login.is(b"aladdin", b"open sesame"));
        assert!(!login.is(b"aladdin", b"open sesamE"));
        assert!(!login.is(b"aladdi", b"n:open sesame"));
        // The example is that of RFC 7617, 2.
        assert!(login.is_in(b"Basic YWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        for wrong in [
            &b""[..],
            b"Basic",
            b"Basic ",
            b"Basic ====",
            b"Digest YWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        ] {
            assert!(!login.is_in(wrong));
        }
    }
}
