//! Structs of options that several sources set: flags and a configuration file.

/// Options that may each be left unset.
pub trait Over {
    /// Returns these options, each that is unset taken from `under`.
    #[must_use]
    fn over(self, under: Self) -> Self;
}

impl<T> Over for Option<T> {
    fn over(self, under: Self) -> Self {
        self.or(under)
    }
}

/// Declares a struct of options and implements [`Over`] for it, so that its fields are listed once.
macro_rules! choices {
    ($(#[$outer:meta])* pub struct $name:ident {
        $($(#[$meta:meta])* pub $field:ident: $type:ty,)+
    }) => {
        $(#[$outer])*
        pub struct $name {
            $($(#[$meta])* pub $field: $type,)+
        }

        impl $crate::choices::Over for $name {
            fn over(self, under: Self) -> Self {
                Self { $($field: $crate::choices::Over::over(self.$field, under.$field),)+ }
            }
        }
    };
}

pub(crate) use choices;
