//! The macro behind each stage's op table: one entry per op gives the enum variant, its printed mnemonic, its
//! operands, its attributes and its doc; printer, parser, verifier and rewriting follow from it.

/// Declares the `pub enum Op` of a stage.
///
/// An entry is `Variant "mnemonic" (operand, ...) { attribute: Type, ... }`, or `(*operands)` for an op with any
/// number of operands, kept in a `Vec<Value>`.
macro_rules! op_table {
    ($(#[$enum_doc:meta])* enum Op { $(
        $(#[$doc:meta])*
        $variant:ident $mnemonic:literal ($($operands:tt)*) { $($(#[$attr_doc:meta])* $attr:ident : $ty:ty),* $(,)? }
    )* }) => {
        $crate::op_table::op_table_enum! { $(#[$enum_doc])* {} $(
            $(#[$doc])* $variant ($($operands)*) { $($(#[$attr_doc])* $attr : $ty),* }
        )* }

        impl $crate::func::StageOp for Op {
            fn mnemonic(&self) -> &'static str {
                match self { $(Op::$variant { .. } => $mnemonic),* }
            }

            fn mnemonics() -> &'static [&'static str] {
                &[$($mnemonic),*]
            }

            fn operands(&self) -> Vec<$crate::entity::Value> {
                match self { $(op_table!(@pattern $variant ($($operands)*)) => op_table!(@collect ($($operands)*))),* }
            }

            fn operands_mut(&mut self) -> Vec<&mut $crate::entity::Value> {
                match self {
                    $(op_table!(@pattern $variant ($($operands)*)) => op_table!(@collect_mut ($($operands)*))),*
                }
            }

            #[allow(unused_variables)]
            fn attrs(&self) -> Vec<(String, $crate::attr::Attr)> {
                match self {
                    $(Op::$variant { $($attr,)* .. } => {
                        let fields: Vec<(&str, Option<$crate::attr::Attr>)> =
                            vec![$((stringify!($attr), $crate::attr::AsAttr::to_attr($attr))),*];
                        fields.into_iter().filter_map(|(name, attr)| Some((name.to_string(), attr?))).collect()
                    }),*
                }
            }

            #[allow(unused_mut)]
            fn from_parts(
                mnemonic: &str,
                operands: &[$crate::entity::Value],
                attrs: &[(String, $crate::attr::Attr)],
            ) -> Result<Self, $crate::attr::AttrError> {
                let mut fields = $crate::attr::Fields::new(attrs);
                match mnemonic {
                    $($mnemonic => {
                        let op = op_table!(@build fields operands $variant ($($operands)*) { $($attr),* });
                        fields.finish()?;
                        Ok(op)
                    })*
                    other => Err($crate::attr::AttrError(format!("there is no op `{other}` in this stage"))),
                }
            }
        }
    };

    (@pattern $variant:ident (* $list:ident)) => { Op::$variant { $list, .. } };
    (@pattern $variant:ident ($($operand:ident),*)) => { Op::$variant { $($operand,)* .. } };
    (@collect (* $list:ident)) => { $list.clone() };
    (@collect ($($operand:ident),*)) => { vec![$(*$operand),*] };
    (@collect_mut (* $list:ident)) => { $list.iter_mut().collect() };
    (@collect_mut ($($operand:ident),*)) => { vec![$($operand),*] };

    (@build $fields:ident $given:ident $variant:ident (* $list:ident) { $($attr:ident),* }) => {
        Op::$variant { $list: $given.to_vec(), $($attr: $fields.take(stringify!($attr))?),* }
    };
    (@build $fields:ident $given:ident $variant:ident ($($operand:ident),*) { $($attr:ident),* }) => {{
        let names: &[&str] = &[$(stringify!($operand)),*];
        let &[$($operand),*] = $given else {
            return Err($crate::attr::AttrError(format!(
                "expected {} operands ({}), found {}", names.len(), names.join(", "), $given.len()
            )));
        };
        Op::$variant { $($operand,)* $($attr: $fields.take(stringify!($attr))?),* }
    }};
}

/// Builds the enum item variant by variant (operands become `Value` or `Vec<Value>` fields).
macro_rules! op_table_enum {
    ($(#[$enum_doc:meta])* { $($done:tt)* }) => {
        $(#[$enum_doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum Op { $($done)* }
    };
    ($(#[$enum_doc:meta])* { $($done:tt)* }
        $(#[$doc:meta])* $variant:ident (* $list:ident) { $($(#[$attr_doc:meta])* $attr:ident : $ty:ty),* }
        $($rest:tt)*) => {
        $crate::op_table::op_table_enum! { $(#[$enum_doc])* { $($done)*
            $(#[$doc])*
            $variant {
                /// Operands in order.
                $list: Vec<$crate::entity::Value>,
                $($(#[$attr_doc])* $attr: $ty,)*
            },
        } $($rest)* }
    };
    ($(#[$enum_doc:meta])* { $($done:tt)* }
        $(#[$doc:meta])* $variant:ident ($($operand:ident),*) { $($(#[$attr_doc:meta])* $attr:ident : $ty:ty),* }
        $($rest:tt)*) => {
        $crate::op_table::op_table_enum! { $(#[$enum_doc])* { $($done)*
            $(#[$doc])*
            $variant {
                $(
                    /// Operand.
                    $operand: $crate::entity::Value,
                )*
                $($(#[$attr_doc])* $attr: $ty,)*
            },
        } $($rest)* }
    };
}

pub(crate) use {op_table, op_table_enum};
