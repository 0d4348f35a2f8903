//! Typed indices.

use std::fmt;

macro_rules! entity {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(u32);

        impl $name {
            /// The `index`-th entity. Indices beyond `u32` never occur: a program has far fewer
            /// ops.
            pub const fn new(index: usize) -> Self {
                assert!(index < u32::MAX as usize);
                $name(index as u32)
            }

            /// Position in the owning list.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    };
}

entity!(
    /// A value: an input of a function or the result of its one defining op.
    Value,
    "%"
);
entity!(
    /// A constant tensor of a function's pool.
    Const,
    "@"
);
