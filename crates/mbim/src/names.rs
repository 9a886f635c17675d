//! Enumerations and bit sets as MBIM defines them: numbers with names.
//!
//! Devices send values outside the published lists, so each type is a number with named constants
//! rather than a Rust `enum`: nothing received is lost, and constants still work as patterns.

/// Named number of an enumeration, or named bit of a bit set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Named {
    /// Name of the constant in upper case; a leading underscore only guards a leading digit.
    pub constant: &'static str,
    /// Number of the value, or mask of the bit in a bit set.
    pub value: u64,
}

impl Named {
    /// Returns the name in snake case, as it is printed and as it is accepted on input.
    #[must_use]
    pub fn name(&self) -> String {
        self.constant.trim_start_matches('_').to_ascii_lowercase()
    }
}

/// Names of one enumeration or bit set.
#[derive(Debug, PartialEq, Eq)]
pub struct Names {
    /// Name of the type.
    pub name: &'static str,
    /// Whether values are sets of bits.
    pub flags: bool,
    /// Named values in ascending order; in a bit set, `NONE = 0` may come first.
    pub values: &'static [Named],
}

impl Names {
    /// Returns the name of a value, if it has one.
    #[must_use]
    pub(crate) fn name_of(&self, value: u64) -> Option<String> {
        self.values
            .iter()
            .find(|named| named.value == value)
            .map(Named::name)
    }

    /// Returns the names of the bits set in `value`, and the bits that have no name.
    #[must_use]
    pub fn bits_of(&self, value: u64) -> (Vec<String>, u64) {
        let mut names = Vec::new();
        let mut rest = value;
        for named in self.values.iter().filter(|named| named.value != 0) {
            if value & named.value == named.value {
                names.push(named.name());
                rest &= !named.value;
            }
        }
        (names, rest)
    }

    /// Returns the value for a text: a name, for bit sets several names joined by `,`, `+` or `|`,
    /// or a number (decimal, or hexadecimal after `0x`). Case does not matter, and `-` is taken for
    /// `_`. A text that is both a name and a number is taken as the name: a DRX cycle of `32` has
    /// value 2. Returns `None` for any other text.
    #[must_use]
    pub(crate) fn value_of(&self, text: &str) -> Option<u64> {
        let one = |text: &str| self.single(text).or_else(|| parse_number(text));
        if !self.flags {
            return one(text);
        }
        text.split([',', '+', '|'])
            .try_fold(0, |value, part| Some(value | one(part)?))
    }

    fn single(&self, text: &str) -> Option<u64> {
        let wanted = text.trim().to_ascii_lowercase().replace('-', "_");
        self.values
            .iter()
            .find(|named| named.name() == wanted)
            .map(|named| named.value)
    }

    /// Returns the text of a value: its name, or the names of its bits separated by commas. Where
    /// there is no name, a number stands.
    #[must_use]
    pub fn text_of(&self, value: u64) -> String {
        if let Some(name) = self.name_of(value) {
            return name;
        }
        if !self.flags {
            return value.to_string();
        }
        let (mut names, rest) = self.bits_of(value);
        if rest != 0 || names.is_empty() {
            names.push(format!("{rest:#x}"));
        }
        names.join(", ")
    }
}

pub(crate) fn parse_number(text: &str) -> Option<u64> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Defines a number newtype with named constants, which serializes as its name. The second argument
/// tells whether its values are sets of bits.
macro_rules! named_number {
    ($(#[$meta:meta])* $name:ident: $repr:ident, $flags:expr, $($constant:ident = $value:expr,)*) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub $repr);

        impl $name {
            $(
                #[doc = concat!("Named value `", stringify!($constant), "`, the number `", stringify!($value), "`.")]
                pub const $constant: Self = Self($value);
            )*

            /// Names of all named values.
            pub const NAMES: &'static $crate::names::Names = &$crate::names::Names {
                name: stringify!($name),
                flags: $flags,
                values: &[$($crate::names::Named {
                    constant: stringify!($constant),
                    value: $value,
                }),*],
            };
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&Self::NAMES.text_of(u64::from(self.0)))
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::names::UnknownName;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::NAMES
                    .value_of(text)
                    .and_then(|value| value.try_into().ok())
                    .map(Self)
                    .ok_or_else(|| $crate::names::UnknownName::new(text, Self::NAMES))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}
pub(crate) use named_number;

/// Error for a text that is neither a name of the type nor a number that fits it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a {kind}; known: {known}")]
pub struct UnknownName {
    text: String,
    kind: &'static str,
    known: String,
}

impl UnknownName {
    pub(crate) fn new(text: &str, names: &'static Names) -> Self {
        let known: Vec<String> = names.values.iter().map(Named::name).collect();
        Self {
            text: text.to_owned(),
            kind: names.name,
            known: known.join(", "),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::fields::{bits, values};

    values! {
        /// An enumeration for the tests.
        Colour: u32 { RED = 1, _5G_BLUE = 7 }
    }
    bits! {
        /// A bit set for the tests.
        Parts: u32 { LEFT = 0, RIGHT = 4 }
    }

    #[test]
    fn names_work_both_ways() {
        assert_eq!(Colour(7).to_string(), "5g_blue");
        assert_eq!(Colour(9).to_string(), "9");
        assert_eq!("5G-blue".parse::<Colour>().unwrap(), Colour::_5G_BLUE);
        assert_eq!(Colour(1), Colour::RED);
        assert_eq!("0x9".parse::<Colour>().unwrap(), Colour(9));
        assert!(
            "green"
                .parse::<Colour>()
                .unwrap_err()
                .to_string()
                .contains("red, 5g_blue")
        );
    }

    #[test]
    fn bits_are_listed_and_unknown_ones_kept() {
        assert_eq!(Parts::NONE.to_string(), "none");
        assert_eq!(Parts(0x11).to_string(), "left, right");
        assert_eq!(Parts(0x31).to_string(), "left, right, 0x20");
        assert_eq!(
            "right,left".parse::<Parts>().unwrap(),
            Parts::LEFT | Parts::RIGHT
        );
        assert!(Parts(0x11).contains(Parts::RIGHT));
    }
}
