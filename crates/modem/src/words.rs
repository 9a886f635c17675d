//! Enums whose values are words of the command line and of configuration files.

/// Defines an enum of command-line words with `FromStr`, `Display`, `VALUES` and serde.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        pub enum $name {
            $($(#[$variant_meta])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// All values, each with its word, in order.
            pub const VALUES: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];

            /// Returns the word of the value, as on the command line.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::words::UnknownWord;

            fn from_str(text: &str) -> Result<Self, $crate::words::UnknownWord> {
                Self::VALUES
                    .iter()
                    .find(|(word, _)| word.eq_ignore_ascii_case(text))
                    .map(|(_, value)| *value)
                    .ok_or_else(|| $crate::words::UnknownWord {
                        given: text.to_owned(),
                        expected: Self::VALUES.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", "),
                    })
            }
        }
    };
}

pub(crate) use words;

/// Error for a word that is not among an option's values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not one of: {expected}")]
pub struct UnknownWord {
    /// Word that was given.
    pub given: String,
    /// Words that are allowed, separated by commas.
    pub expected: String,
}
