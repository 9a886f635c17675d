//! Choices that several sources make: flags, a configuration file.

/// Choices of which every one may be left open.
pub trait Over {
    /// These choices where made, the others from `under`.
    #[must_use]
    fn over(self, under: Self) -> Self;
}

impl<T> Over for Option<T> {
    fn over(self, under: Self) -> Self {
        self.or(under)
    }
}

/// Declares a struct of choices with [`Over`] for it, so that its fields are listed once.
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
