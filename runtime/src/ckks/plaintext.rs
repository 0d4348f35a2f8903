//! Encoded messages.

use fhec_ir::scale::Level;

use crate::names::PlaintextScale;
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
