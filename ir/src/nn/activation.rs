//! Activations: functions of one real variable with a few parameters, each a row of [`TABLE`].
//!
//! A row is all there is to know of one: its name in programs and in ONNX, its value, what it looks
//! like to who approximates it, and where it takes an interval. Interpreter, calibration, scaling,
//! approximation, lowering and import ask the row, and none of them has a list of its own.

mod table;

use std::fmt;

use super::expression::Expression;
use crate::attr::{Attr, AttrError, Fields};
use crate::op_table::Family;

pub use table::TABLE;

/// A row of [`TABLE`]: a family of functions of one variable, by its parameters.
pub struct Function {
    /// In programs.
    pub name: &'static str,
    /// The operator of ONNX that it is.
    pub onnx: &'static str,
    /// In order; their names are those of ONNX' attributes, too.
    pub parameters: &'static [Parameter],
    /// The value at a point in double precision. What is no number stays none.
    pub value: fn(&[f64], f64) -> f64,
    /// The function as approximations see it.
    pub form: fn(&[f64]) -> Form,
    /// Where an interval goes.
    pub image: fn(&[f64]) -> Image,
}

/// The most parameters that a row has.
pub const MAX_PARAMETERS: usize = 3;

/// A parameter of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameter {
    /// In programs, and in ONNX.
    pub name: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// Its value where ONNX gives none: the single precision number of the operator's definition.
    pub default: f64,
}

/// What values a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Finite ones.
    Number,
    /// Finite ones but 0.
    NonZero,
    /// Finite ones above 0.
    Positive,
    /// All, infinite ones included.
    Bound,
    /// 0 for no, 1 for yes; programs say `false` and `true`.
    Flag,
}

/// What a polynomial of a part has in common with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parity {
    /// Nothing: all powers.
    General,
    /// `f(-x) = -f(x)`: odd powers.
    Odd,
    /// `f(-x) = f(x)`: even powers.
    Even,
}

/// A function as approximations see it.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// `x` where positive, a multiple of it elsewhere: the functions with `f(c x) = c f(x)` for all
    /// `c > 0`.
    Rectifier {
        /// Slope where `x` is negative.
        negative: f64,
    },
    /// A line between two constants.
    Clamp(Clamp),
    /// `x` times a line between two constants.
    Gate(Clamp),
    /// Lines, and a part without corners that becomes a polynomial.
    Smooth(Smooth),
}

/// `scale min(max(x, low), high) + offset`; `high` is the stronger bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clamp {
    /// Lower bound of the operand, possibly infinite.
    pub low: f64,
    /// Upper bound of the operand, possibly infinite.
    pub high: f64,
    /// Slope between the bounds.
    pub scale: f64,
    /// Added.
    pub offset: f64,
}

/// `constant + slope x + rectifier max(x, 0) + rest(x)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Smooth {
    /// Known exactly.
    pub constant: f64,
    /// Known exactly.
    pub slope: f64,
    /// What is left of a corner in 0: polynomials for `rest` alone need much lower degrees.
    pub rectifier: f64,
    /// Symmetry of `rest`.
    pub parity: Parity,
    /// Has a derivative everywhere.
    pub rest: Expression,
}

/// Where a function takes an interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Image {
    /// It rises everywhere, or falls everywhere.
    Monotone,
    /// It does on both sides of 0.
    Bent,
    /// It falls to a minimum of at least this on `x < 0`, then rises, and is at most `max(x, 0)`.
    Dip(f64),
    /// It rises everywhere above this, or falls everywhere, and is not defined here nor below.
    Above(f64),
    /// The same, defined here, too.
    From(f64),
}

/// Names of the parameters that say between which operands a function is asked for, which is not
/// defined everywhere: its variable is then the distance from the middle between them.
const DOMAIN: [&str; 2] = ["from", "to"];

/// An activation: a row of the table with its parameters.
#[derive(Clone, Copy)]
pub struct Activation {
    function: &'static Function,
    parameters: [f64; MAX_PARAMETERS],
}

impl Activation {
    /// `function` with these parameters.
    ///
    /// # Errors
    /// If there are not as many as it has, or if one is of no use.
    pub fn new(function: &'static Function, parameters: &[f64]) -> Result<Self, String> {
        let wanted = function.parameters.len();
        if parameters.len() != wanted || wanted > MAX_PARAMETERS {
            return Err(format!("{} has {wanted} parameters, found {parameters:?}", function.name));
        }
        let mut all = [0.0; MAX_PARAMETERS];
        all[..wanted].copy_from_slice(parameters);
        let activation = Activation { function, parameters: all };
        activation.check()?;
        Ok(activation)
    }

    /// The row whose operator of ONNX is `operator`.
    pub fn of_onnx(operator: &str) -> Option<&'static Function> {
        TABLE.iter().copied().find(|function| function.onnx == operator)
    }

    /// Why a parameter is of no use, if one is.
    ///
    /// # Errors
    /// With its name, its value, and what it can be.
    pub fn check(&self) -> Result<(), String> {
        for (parameter, value) in self.function.parameters.iter().zip(self.parameters) {
            let (good, wanted) = match parameter.kind {
                Kind::Number => (value.is_finite(), "a finite number"),
                Kind::NonZero => (value.is_finite() && value != 0.0, "a finite number other than 0"),
                Kind::Positive => (value.is_finite() && value > 0.0, "a finite number above 0"),
                Kind::Bound => (!value.is_nan(), "a number, possibly infinite"),
                Kind::Flag => (value == 0.0 || value == 1.0, "true or false"),
            };
            if !good {
                let (function, name) = (self.function.name, parameter.name);
                return Err(format!("`{name}` of {function} must be {wanted}, found {value}"));
            }
        }
        Ok(())
    }

    /// Its row.
    pub fn function(&self) -> &'static Function {
        self.function
    }

    /// Its parameters, in the order of the row.
    pub fn parameters(&self) -> &[f64] {
        &self.parameters[..self.function.parameters.len()]
    }

    /// The value at `x`, in double precision.
    pub fn value(&self, x: f64) -> f64 {
        (self.function.value)(self.parameters(), x)
    }

    /// As approximations see it.
    pub fn form(&self) -> Form {
        (self.function.form)(self.parameters())
    }

    /// An interval that contains the values on `[min, max]`, which may be infinite; no numbers
    /// where the values have no bounds that could be told.
    pub fn image(&self, [min, max]: [f64; 2]) -> [f64; 2] {
        let hull = |points: &[f64]| {
            let values = || points.iter().map(|&x| self.value(x));
            if values().any(f64::is_nan) {
                return [f64::NAN; 2];
            }
            [values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max)]
        };
        match (self.function.image)(self.parameters()) {
            Image::Monotone => hull(&[min, max]),
            Image::Bent => hull(&[min, max, min.max(0.0), max.max(0.0)]),
            Image::Above(bound) if min <= bound => [f64::NAN; 2],
            Image::From(bound) if min < bound => [f64::NAN; 2],
            Image::Above(_) | Image::From(_) => hull(&[min, max]),
            Image::Dip(least) => [if min < 0.0 { least } else { self.value(min) }, max.max(0.0)],
        }
    }

    /// Whether no value is negative.
    pub fn is_nonnegative(&self) -> bool {
        self.image([f64::NEG_INFINITY, f64::INFINITY])[0] >= 0.0
    }

    /// The same function of the distance from the middle of `domain`, if it is one that is not
    /// defined everywhere.
    #[must_use]
    pub fn around(&self, domain: [f64; 2]) -> Option<Self> {
        let mut around = *self;
        for (name, end) in DOMAIN.iter().zip(domain) {
            let place = self.function.parameters.iter().position(|parameter| parameter.name == *name)?;
            around.parameters[place] = end;
        }
        Some(around)
    }

    /// The slope where `x` is negative, if it is a rectifier.
    pub fn rectifier(&self) -> Option<f64> {
        match self.form() {
            Form::Rectifier { negative } => Some(negative),
            _ => None,
        }
    }

    /// `g` with `g(x) = f(c x) / c`, if it is in the table; `c > 0`.
    #[must_use]
    pub fn rescaled(&self, c: f64) -> Option<Self> {
        match self.form() {
            Form::Rectifier { .. } => Some(*self),
            Form::Clamp(Clamp { low, high, scale: 1.0, offset: 0.0 }) => {
                Some(Activation::clip(low / c, high / c))
            }
            _ => None,
        }
    }
}

impl Smooth {
    /// The part that a polynomial takes the place of: all but the rectifier, in double precision.
    /// `activation` is what this is the form of.
    pub fn value(&self, activation: &Activation, x: f64) -> f64 {
        // What the sum would lose by rounding, the function itself keeps.
        activation.value(x) - if x > 0.0 { self.rectifier * x } else { 0.0 }
    }
}

impl PartialEq for Activation {
    fn eq(&self, other: &Self) -> bool {
        self.function.name == other.function.name && self.parameters() == other.parameters()
    }
}

/// As in programs: `leaky_relu {alpha=0.1}`.
impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.function.name)?;
        match self.attrs() {
            attrs if attrs.is_empty() => Ok(()),
            attrs => {
                f.write_str(" ")?;
                crate::attr::write_record(f, &attrs)
            }
        }
    }
}

impl fmt::Debug for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Family for Activation {
    fn mnemonic(&self) -> &'static str {
        self.function.name
    }

    fn mnemonics() -> Vec<&'static str> {
        TABLE.iter().map(|function| function.name).collect()
    }

    fn attrs(&self) -> Vec<(String, Attr)> {
        let attr = |(parameter, &value): (&Parameter, &f64)| {
            let attr = match parameter.kind {
                Kind::Flag => Attr::Word((value != 0.0).to_string()),
                _ => Attr::Float(value),
            };
            (parameter.name.to_string(), attr)
        };
        self.function.parameters.iter().zip(self.parameters()).map(attr).collect()
    }

    fn from_parts(mnemonic: &str, fields: &mut Fields<'_>) -> Option<Result<Self, AttrError>> {
        let function = TABLE.iter().copied().find(|function| function.name == mnemonic)?;
        let mut take = |parameter: &Parameter| match parameter.kind {
            Kind::Flag => fields.take::<bool>(parameter.name).map(|flag| f64::from(u8::from(flag))),
            _ => fields.take::<f64>(parameter.name),
        };
        let parameters: Result<Vec<f64>, AttrError> = function.parameters.iter().map(&mut take).collect();
        Some(parameters.and_then(|all| Activation::new(function, &all).map_err(AttrError)))
    }
}
