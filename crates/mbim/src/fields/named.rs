//! Macros that define enumerations and bit sets as fields of layouts.

/// Defines an enumeration from names and numbers.
macro_rules! values {
    ($(#[$meta:meta])* $name:ident: $repr:ident { $($constant:ident = $value:expr),* $(,)? }) => {
        $crate::names::named_number!($(#[$meta])* $name: $repr, false, $($constant = $value,)*);
        $crate::fields::wire_number!($name: $repr);
    };
}
pub(crate) use values;

/// Defines a bit set from names and bit positions, and adds `NONE = 0`.
macro_rules! bits {
    ($(#[$meta:meta])* $name:ident: $repr:ident { $($constant:ident = $bit:expr),* $(,)? }) => {
        $crate::names::named_number!($(#[$meta])* $name: $repr, true, NONE = 0, $($constant = 1 << $bit,)*);
        $crate::fields::wire_number!($name: $repr);

        impl $name {
            /// Returns whether all bits of `other` are set.
            #[must_use]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }
        }

        impl std::ops::BitOr for $name {
            type Output = Self;
            fn bitor(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }
        }

        impl std::ops::BitOrAssign for $name {
            fn bitor_assign(&mut self, other: Self) {
                self.0 |= other.0;
            }
        }
    };
}
pub(crate) use bits;

/// Makes a named number the type of a field.
macro_rules! wire_number {
    ($name:ident: $repr:ident) => {
        impl $crate::fields::Wire for $name {
            fn to_value(&self) -> $crate::fields::Value {
                $crate::fields::Value::Unsigned(u64::from(self.0))
            }
            fn from_value(value: $crate::fields::Value) -> Option<Self> {
                value.unsigned()?.try_into().ok().map(Self)
            }
            fn zero() -> Self {
                Self(0)
            }
        }

        impl $crate::fields::WireKind for $name {
            const KIND: $crate::fields::Kind = $crate::fields::Kind::Named {
                names: Self::NAMES,
                bytes: size_of::<$repr>(),
            };
        }
    };
}
pub(crate) use wire_number;
