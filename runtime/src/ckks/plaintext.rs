//! Encoded messages and their scales.

use std::fmt;

use fhec_ir::params::Params;
use fhec_ir::scale::{ExactScale, Level, Scale};
use num_bigint::BigUint;

use crate::ring::Poly;

/// A complex number, the content of a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Complex {
    /// Real part.
    pub re: f64,
    /// Imaginary part.
    pub im: f64,
}

impl Complex {
    /// `re + i im`.
    pub const fn new(re: f64, im: f64) -> Self {
        Complex { re, im }
    }

    /// Absolute value.
    pub fn abs(self) -> f64 {
        self.re.hypot(self.im)
    }
}

impl From<f64> for Complex {
    fn from(re: f64) -> Self {
        Complex { re, im: 0.0 }
    }
}

/// The factor between a message and the integers that encode it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlaintextScale {
    /// A named scale: for sums, and for products of canonical values of the same level inside a segment of the chain.
    Named(Scale),
    /// `to / from`: for products that carry a ciphertext from scale `from` to scale `to`, exactly.
    Ratio {
        /// Scale of the ciphertext before the product.
        from: Scale,
        /// Scale of the product.
        to: Scale,
    },
}

impl PlaintextScale {
    /// The value that the name stands for.
    pub fn exact(self, params: &Params) -> ExactScale {
        match self {
            PlaintextScale::Named(scale) => params.scale(scale),
            PlaintextScale::Ratio { from, to } => {
                params.scale(to).mul_ratio(&BigUint::from(1u8), &params.scale(from))
            }
        }
    }

    /// Scale of the product with a ciphertext at scale `ciphertext`, if that has a name.
    ///
    /// `D_level^2` has one except where the chain steps to a segment with another scale ([`Params::continues`]).
    pub fn product(self, ciphertext: Scale, params: &Params) -> Option<Scale> {
        match self {
            PlaintextScale::Named(scale)
                if scale == ciphertext && scale.power == 1 && params.continues(scale.level) =>
            {
                Some(Scale::squared(scale.level))
            }
            PlaintextScale::Ratio { from, to } if from == ciphertext => Some(to),
            _ => None,
        }
    }
}

impl fmt::Display for PlaintextScale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlaintextScale::Named(scale) => write!(f, "{scale}"),
            PlaintextScale::Ratio { from, to } => write!(f, "{to}/{from}"),
        }
    }
}

/// What the residues of a plaintext are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// Plain residues: for encryption, sums and products.
    Residues,
    /// Residues in Montgomery form: for products only, which are faster.
    Montgomery,
}

/// An encoded message: `round(scale * embedding^-1(message))` in the evaluation domain.
#[derive(Clone, Debug, PartialEq)]
pub struct Plaintext {
    pub(crate) poly: Poly,
    pub(crate) form: Form,
    pub(crate) level: Level,
    pub(crate) scale: PlaintextScale,
    pub(crate) slots: usize,
}

impl Plaintext {
    /// The polynomial, over the primes of the level, with the special primes if it was encoded so.
    pub fn poly(&self) -> &Poly {
        &self.poly
    }

    /// Form of the residues.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The highest level it can be used at.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Its scale.
    pub fn scale(&self) -> PlaintextScale {
        self.scale
    }

    /// Number of slots.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Bytes of residues.
    pub fn bytes(&self) -> usize {
        8 * self.poly.data().len()
    }
}
