//! Attributes: the one form in which everything an op carries besides its operands is printed and
//! parsed.
//!
//! Grammar: `5`, `-0.25`, `inf`, `"text"`, `word`, `@3`, `[a, b]`, `{name=a, other=b}`. A number
//! with a point, an exponent, or one of `inf`, `-inf` is a float, every other number an integer;
//! floats print with the fewest digits that read back to the same bits.

use std::fmt;

use thiserror::Error;

use crate::entity::Const;

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attr {
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// Quoted text.
    Text(String),
    /// A bare word such as `true` or `same`.
    Word(String),
    /// A constant of the function's pool.
    Const(Const),
    /// A list.
    List(Vec<Attr>),
    /// Named fields in order.
    Record(Vec<(String, Attr)>),
}

/// An attribute of the wrong kind or an unknown or missing field.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct AttrError(pub String);

impl AttrError {
    /// `expected` was wanted, `found` was there.
    pub fn expected(expected: &str, found: &Attr) -> Self {
        AttrError(format!("expected {expected}, found `{found}`"))
    }
}

impl fmt::Display for Attr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Attr::Int(value) => write!(f, "{value}"),
            Attr::Float(value) => write!(f, "{value:?}"),
            Attr::Text(text) => write!(f, "{text:?}"),
            Attr::Word(word) => f.write_str(word),
            Attr::Const(id) => write!(f, "{id}"),
            Attr::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{item}")?;
                }
                f.write_str("]")
            }
            Attr::Record(fields) => write_record(f, fields),
        }
    }
}

/// Writes `{name=value, ...}`.
pub(crate) fn write_record(f: &mut impl fmt::Write, fields: &[(String, Attr)]) -> fmt::Result {
    f.write_str("{")?;
    for (index, (name, value)) in fields.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}{name}={value}")?;
    }
    f.write_str("}")
}

/// A type that can be carried as an attribute; `from_attr(to_attr(x)) == x`.
pub trait AsAttr: Sized {
    /// The printed form; `None` leaves the field out (only for options).
    fn to_attr(&self) -> Option<Attr>;
    /// Reads it back. `None` stands for a field that is not there.
    fn from_attr(attr: Option<&Attr>) -> Result<Self, AttrError>;
}

fn present(attr: Option<&Attr>) -> Result<&Attr, AttrError> {
    attr.ok_or_else(|| AttrError("the field is missing".into()))
}

impl AsAttr for i64 {
    fn to_attr(&self) -> Option<Attr> {
        Some(Attr::Int(*self))
    }
    fn from_attr(attr: Option<&Attr>) -> Result<Self, AttrError> {
        match present(attr)? {
            Attr::Int(value) => Ok(*value),
            other => Err(AttrError::expected("an integer", other)),
        }
    }
}

macro_rules! int_attr {
    ($($ty:ty),*) => {$(
        impl AsAttr for $ty {
            fn to_attr(&self) -> Option<Attr> {
                i64::try_from(*self).ok().map(Attr::Int)
            }
            fn from_attr(attr: Option<&Attr>) -> Result<Self, AttrError> {
                let value = i64::from_attr(attr)?;
                <$ty>::try_from(value).map_err(|_| AttrError(format!("{value} is out of range")))
            }
        }
    )*};
}
int_attr!(u8, u16, u32, u64, usize);

impl AsAttr for f64 {
    fn to_attr(&self) -> Option<Attr> {
        Some(Attr::Float(*self))
    }
    fn from_attr(attr: Option<&Attr>) -> Result<Self, AttrError> {
        match present(attr)? {
            Attr::Float(value) => Ok(*value),
            Attr::Int(value) => Ok(*value as f64),
            other => Err(AttrError::expected("a number", other)),
        }
    }
}

impl AsAttr for bool {
    fn to_attr(&self) -> Option<Attr> {
        Some(Attr::Word(self.to_string()))
    }
    fn from_attr(attr: Option<&Attr>) -> Result<Self, AttrError> {
        match present(attr)? {
            Attr::Word(word) if word == "true" => Ok(true),
            Attr::Word(word) if word == "false" => Ok(false),
            other => Err(AttrError::expected("true or false", other)),
        }
    }
}

impl AsAttr for String {
    fn to_attr(&self) -> Option<Attr> {
        Some(Attr::Text(self.clone()))
    }
    fn from_attr(attr: Option<&Attr>) -> Result<Self, AttrError> {
        match present(attr)? {
            Attr::Text(text) => Ok(text.clone()),
            other => Err(AttrError::expected("quoted text", other)),
        }
    }
}

impl AsAttr for Const {
    fn to_attr(&self) -> Option<Attr> {
        Some(Attr::Const(*self))
    }
    fn from_attr(attr: Option<&Attr>) -> Result<Self, AttrError> {
        match present(attr)? {
            Attr::Const(id) => Ok(*id),
            other => Err(AttrError::expected("a constant such as @0", other)),
        }
    }
}

impl<T: AsAttr> AsAttr for Option<T> {
    fn to_attr(&self) -> Option<Attr> {
        self.as_ref().and_then(T::to_attr)
    }
    fn from_attr(attr: Option<&Attr>) -> Result<Self, AttrError> {
        attr.map(|attr| T::from_attr(Some(attr))).transpose()
    }
}

impl<T: AsAttr> AsAttr for Vec<T> {
    fn to_attr(&self) -> Option<Attr> {
        Some(Attr::List(self.iter().filter_map(T::to_attr).collect()))
    }
    fn from_attr(attr: Option<&Attr>) -> Result<Self, AttrError> {
        match present(attr)? {
            Attr::List(items) => items.iter().map(|item| T::from_attr(Some(item))).collect(),
            other => Err(AttrError::expected("a list", other)),
        }
    }
}

impl<T: AsAttr, const K: usize> AsAttr for [T; K] {
    fn to_attr(&self) -> Option<Attr> {
        Some(Attr::List(self.iter().filter_map(T::to_attr).collect()))
    }
    fn from_attr(attr: Option<&Attr>) -> Result<Self, AttrError> {
        let items = Vec::<T>::from_attr(attr)?;
        let found = items.len();
        items.try_into().map_err(|_| AttrError(format!("expected a list of {K} items, found {found}")))
    }
}

/// Implements [`AsAttr`] for a struct as a record of its fields, in order.
#[macro_export]
macro_rules! record_attr {
    ($ty:ident { $($field:ident),* $(,)? }) => {
        impl $crate::attr::AsAttr for $ty {
            fn to_attr(&self) -> Option<$crate::attr::Attr> {
                let fields = [$((stringify!($field), $crate::attr::AsAttr::to_attr(&self.$field))),*];
                Some($crate::attr::Attr::Record(
                    fields.into_iter().filter_map(|(name, attr)| Some((name.to_string(), attr?))).collect(),
                ))
            }
            fn from_attr(
                attr: Option<&$crate::attr::Attr>,
            ) -> Result<Self, $crate::attr::AttrError> {
                let mut fields = $crate::attr::Fields::of(attr)?;
                let value = $ty { $($field: fields.take(stringify!($field))?),* };
                fields.finish()?;
                Ok(value)
            }
        }
    };
}

/// Reads the fields of a record one by one and complains about those nobody asked for.
pub struct Fields<'a> {
    rest: Vec<&'a (String, Attr)>,
}

impl<'a> Fields<'a> {
    /// The fields of a record attribute.
    pub fn of(attr: Option<&'a Attr>) -> Result<Self, AttrError> {
        match present(attr)? {
            Attr::Record(fields) => Ok(Fields::new(fields)),
            other => Err(AttrError::expected("a record {..}", other)),
        }
    }

    /// The given fields.
    pub fn new(fields: &'a [(String, Attr)]) -> Self {
        Fields { rest: fields.iter().collect() }
    }

    /// Takes the field `name`.
    pub fn take<T: AsAttr>(&mut self, name: &str) -> Result<T, AttrError> {
        let position = self.rest.iter().position(|(field, _)| field == name);
        let attr = position.map(|position| &self.rest.remove(position).1);
        T::from_attr(attr).map_err(|AttrError(message)| AttrError(format!("`{name}`: {message}")))
    }

    /// Errs if a field is left.
    pub fn finish(self) -> Result<(), AttrError> {
        match self.rest.first() {
            None => Ok(()),
            Some((name, _)) => Err(AttrError(format!("unknown or repeated field `{name}`"))),
        }
    }
}
