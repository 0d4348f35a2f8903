//! What errors, keys and ciphertexts call each other by.

use std::fmt;

use fhec_ir::params::Params;
use fhec_ir::scale::{ExactScale, Scale};
use num_bigint::BigUint;

/// Public name of a secret key. Everything made with the key carries it, so that mixing keys is an
/// error, not noise.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub [u8; 16]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..6].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// What a switching key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SwitchingKeyKind {
    /// From the square of the secret back to the secret, after a product.
    Relinearization,
    /// After the automorphism `X -> X^element`.
    Galois {
        /// Odd, below 2N.
        element: u64,
    },
}

impl fmt::Display for SwitchingKeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SwitchingKeyKind::Relinearization => f.write_str("relinearization key"),
            SwitchingKeyKind::Galois { element } => write!(f, "Galois key of X -> X^{element}"),
        }
    }
}

/// The factor between a message and the integers that encode it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlaintextScale {
    /// A named scale: for sums, and for products of canonical values of the same level inside a
    /// segment of the chain.
    Named(Scale),
    /// `to / from`: for products that carry a ciphertext from scale `from` to scale `to`, exactly.
    Ratio {
        /// Scale of the ciphertext before the product.
        from: Scale,
        /// Scale of the product.
        to: Scale,
    },
    /// `to / from / 2^log2_mask`: for products whose sum goes through a mask at scale
    /// `2^log2_mask` next. They are said to be at scale `to` as soon as they are made.
    BeforeMask {
        /// Scale of the ciphertext before the product.
        from: Scale,
        /// Scale after the mask.
        to: Scale,
        /// Of the mask.
        log2_mask: u32,
    },
    /// `2^log2`: for masks.
    PowerOfTwo(u32),
    /// A special prime, by its number: for products that are divided by it, with the others, so
    /// that ciphertexts keep scale and level.
    Special(usize),
}

impl PlaintextScale {
    /// The value that the name stands for.
    pub fn exact(self, params: &Params) -> ExactScale {
        match self {
            PlaintextScale::Named(scale) => params.scale(scale),
            PlaintextScale::Ratio { from, to } => {
                params.scale(to).mul_ratio(&BigUint::from(1u8), &params.scale(from))
            }
            PlaintextScale::BeforeMask { from, to, log2_mask } => {
                let ratio = PlaintextScale::Ratio { from, to }.exact(params);
                ratio.mul_ratio(&BigUint::from(1u8), &PlaintextScale::PowerOfTwo(log2_mask).exact(params))
            }
            PlaintextScale::PowerOfTwo(log2) => ExactScale::from_integer(&(BigUint::from(1u8) << log2)),
            PlaintextScale::Special(index) => ExactScale::from_integer(&BigUint::from(params.p()[index])),
        }
    }

    /// Scale of the product with a ciphertext at scale `ciphertext`, if that has a name.
    ///
    /// `D_level^2` has one except where the chain steps to a segment with another scale
    /// ([`Params::continues`]).
    pub fn product(self, ciphertext: Scale, params: &Params) -> Option<Scale> {
        match self {
            PlaintextScale::Named(scale)
                if scale == ciphertext && scale.power == 1 && params.continues(scale.level) =>
            {
                Some(Scale::squared(scale.level))
            }
            PlaintextScale::Ratio { from, to } | PlaintextScale::BeforeMask { from, to, .. }
                if from == ciphertext =>
            {
                Some(to)
            }
            _ => None,
        }
    }
}

impl fmt::Display for PlaintextScale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PlaintextScale::Named(scale) => write!(f, "{scale}"),
            PlaintextScale::Ratio { from, to } => write!(f, "{to}/{from}"),
            PlaintextScale::BeforeMask { from, to, log2_mask } => write!(f, "{to}/{from}/2^{log2_mask}"),
            PlaintextScale::PowerOfTwo(log2) => write!(f, "2^{log2}"),
            PlaintextScale::Special(index) => write!(f, "special prime {index}"),
        }
    }
}
