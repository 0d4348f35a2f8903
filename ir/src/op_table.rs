//! The macro behind each stage's op table: one entry per op gives the enum variant, its printed
//! mnemonic, its operands, its attributes and its doc; printer, parser, verifier and rewriting
//! follow from it.

use crate::attr::{Attr, AttrError, Fields};

/// Ops that are one variant of a stage's enum: they print and parse under their own names.
pub trait Family: Sized {
    /// Name in printed programs.
    fn mnemonic(&self) -> &'static str;
    /// Names of all of them.
    fn mnemonics() -> Vec<&'static str>;
    /// Attributes in order.
    fn attrs(&self) -> Vec<(String, Attr)>;
    /// The one of that name, with these attributes; `None` if no op of the family has the name.
    fn from_parts(mnemonic: &str, fields: &mut Fields<'_>) -> Option<Result<Self, AttrError>>;
}

/// Declares the `pub enum Op` of a stage.
///
/// An entry is `Variant "mnemonic" (operand, ...) { attribute: Type, ... }`, or `(*operands)` for
/// an op with any number of operands, kept in a `Vec<Value>`. After the table, `family Variant
/// (operand) { field: Type }` declares many ops of one operand at once, all those of the [`Family`]
/// that `Type` is.
macro_rules! op_table {
    ($(#[$enum_doc:meta])* enum Op { $(
        $(#[$doc:meta])*
        $variant:ident $mnemonic:literal ($($operands:tt)*) { $($(#[$attr_doc:meta])* $attr:ident : $ty:ty),* $(,)? }
    )* } $($(#[$family_doc:meta])* family $family:ident ($family_operand:ident) {
        $(#[$family_field_doc:meta])* $family_field:ident : $family_ty:ty $(,)?
    })?) => {
        $crate::op_table::op_table_enum! { $(#[$enum_doc])* {} $(
            $(#[$doc])* $variant ($($operands)*) { $($(#[$attr_doc])* $attr : $ty),* }
        )* $(
            $(#[$family_doc])* $family ($family_operand) {
                $(#[$family_field_doc])* $family_field : $family_ty
            }
        )? }

        impl $crate::func::StageOp for Op {
            fn mnemonic(&self) -> &'static str {
                match self {
                    $(Op::$variant { .. } => $mnemonic,)*
                    $(Op::$family { $family_field, .. } => $crate::op_table::Family::mnemonic($family_field),)?
                }
            }

            fn mnemonics() -> Vec<&'static str> {
                let names = vec![$($mnemonic),*];
                $(let names = [names, <$family_ty as $crate::op_table::Family>::mnemonics()].concat();)?
                names
            }

            fn operands(&self) -> Vec<$crate::entity::Value> {
                match self {
                    $(op_table!(@pattern $variant ($($operands)*)) => op_table!(@collect ($($operands)*)),)*
                    $(Op::$family { $family_operand, .. } => vec![*$family_operand],)?
                }
            }

            fn operands_mut(&mut self) -> Vec<&mut $crate::entity::Value> {
                match self {
                    $(op_table!(@pattern $variant ($($operands)*)) => op_table!(@collect_mut ($($operands)*)),)*
                    $(Op::$family { $family_operand, .. } => vec![$family_operand],)?
                }
            }

            #[allow(unused_variables)]
            fn attrs(&self) -> Vec<(String, $crate::attr::Attr)> {
                match self {
                    $(Op::$variant { $($attr,)* .. } => {
                        let fields: Vec<(&str, Option<$crate::attr::Attr>)> =
                            vec![$((stringify!($attr), $crate::attr::AsAttr::to_attr($attr))),*];
                        fields.into_iter().filter_map(|(name, attr)| Some((name.to_string(), attr?))).collect()
                    })*
                    $(Op::$family { $family_field, .. } => $crate::op_table::Family::attrs($family_field),)?
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
                    other => {
                        $(if let Some(found) = <$family_ty as $crate::op_table::Family>::from_parts(other, &mut fields) {
                            let $family_field = found?;
                            let op = op_table!(@build fields operands $family ($family_operand) {} $family_field);
                            fields.finish()?;
                            return Ok(op);
                        })?
                        Err($crate::attr::AttrError(format!("there is no op `{other}` in this stage")))
                    }
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
    (@build $fields:ident $given:ident $variant:ident ($($operand:ident),*) { $($attr:ident),* } $($known:ident)?) => {{
        let names: &[&str] = &[$(stringify!($operand)),*];
        let &[$($operand),*] = $given else {
            return Err($crate::attr::AttrError(format!(
                "expected {} operands ({}), found {}", names.len(), names.join(", "), $given.len()
            )));
        };
        Op::$variant { $($operand,)* $($attr: $fields.take(stringify!($attr))?,)* $($known)? }
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
