//! Ciphertexts whose division by the special primes is postponed.

use fhec_ir::scale::{Level, Scale};

use super::ciphertext::Ciphertext;
use crate::names::KeyId;
use crate::ring::basis_extension::Tail;
use crate::ring::{Context, Domain, Poly};

/// `P` times a ciphertext of size 2, over the chain and the special primes: what a key switch
/// leaves before its division by `P`. Sums and plaintext products of these need one division in the
/// end (double hoisting, Bossuat et al., ePrint 2020/1203, section 4).
#[derive(Clone, Debug, PartialEq)]
pub struct ExtendedCiphertext {
    pub(crate) polys: [Poly; 2],
    pub(crate) level: Level,
    pub(crate) scale: Scale,
    pub(crate) slots: usize,
    pub(crate) key: KeyId,
}

impl ExtendedCiphertext {
    /// An encryption of zero: the start of a sum.
    pub fn zero(context: &Context, level: Level, scale: Scale, slots: usize, key: KeyId) -> Self {
        let basis = context.extended_basis(level);
        let polys = [(); 2].map(|()| Poly::zero(context, basis, Domain::Evaluation));
        ExtendedCiphertext { polys, level, scale, slots, key }
    }

    /// Levels left.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Name of the scale of the ciphertext that this is `P` times of.
    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// Number of slots.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Name of the secret key that decrypts.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// The ciphertext: divides by `P` with rounding.
    #[doc(alias("ModDown", "mod down"))]
    pub fn mod_down(&self, context: &Context) -> Ciphertext {
        let [c0, c1] = &self.polys;
        let kept = c0.basis().with_special(0);
        let polys = context.divide_round([c0, c1], kept, [Tail::default(); 2]);
        Ciphertext::new(polys.into(), self.level, self.scale, self.slots, self.key)
    }
}
