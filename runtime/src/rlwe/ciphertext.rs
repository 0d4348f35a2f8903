//! Ciphertexts and their metadata.

use fhec_ir::ckks::CiphertextType;
use fhec_ir::scale::{Level, Scale};

use crate::names::KeyId;
use crate::ring::{Context, Poly};

/// An encryption of a message at a level and a scale: polynomials `c_0, ..., c_(size - 1)` in the
/// evaluation domain with `sum_i c_i s^i = scale * message + error`.
///
/// *Size*: 2, or 3 after a product that has not been relinearised. *Level*: all polynomials have
/// the primes of `level` and no others. *Slots*: `slots` values, a power of two; fewer than N/2 are
/// repeated to fill all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Ciphertext {
    polys: Vec<Poly>,
    level: Level,
    scale: Scale,
    slots: usize,
    key: KeyId,
}

impl Ciphertext {
    pub(crate) fn new(polys: Vec<Poly>, level: Level, scale: Scale, slots: usize, key: KeyId) -> Self {
        Ciphertext { polys, level, scale, slots, key }
    }

    /// The polynomials.
    pub fn polys(&self) -> &[Poly] {
        &self.polys
    }

    pub(crate) fn polys_mut(&mut self) -> &mut Vec<Poly> {
        &mut self.polys
    }

    /// Number of polynomials.
    pub fn size(&self) -> usize {
        self.polys.len()
    }

    /// Levels left.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Name of the scale, which need not be that of the level.
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

    /// What it is as one of a bundle of `vectors` ciphertexts.
    pub fn bundle_type(&self, vectors: usize) -> CiphertextType {
        let &Ciphertext { level, scale, slots, .. } = self;
        CiphertextType { vectors, slots, level, scale, size: self.size() as u8 }
    }

    /// Bytes of residues.
    pub fn bytes(&self) -> usize {
        self.polys.iter().map(|poly| 8 * poly.data().len()).sum()
    }

    /// The same polynomials read at another scale: multiplies the message by `old / new`. For
    /// circuits that scale on purpose, such as modulus raising.
    pub fn with_scale(mut self, scale: Scale) -> Self {
        self.scale = scale;
        self
    }

    /// The same ciphertext said to hold another number of slots: the caller knows how its values
    /// repeat.
    pub fn with_slots(mut self, slots: usize) -> Self {
        self.slots = slots;
        self
    }

    pub(crate) fn set_scale(&mut self, scale: Scale) {
        self.scale = scale;
    }

    pub(crate) fn set_level(&mut self, level: Level) {
        self.level = level;
    }

    pub(crate) fn set_slots(&mut self, slots: usize) {
        self.slots = slots;
    }
}

/// A fresh secret-key ciphertext whose uniform half is known by its seed: half the bytes to send.
///
/// The seed is public. It and the seed of the secret error are two children of one secret seed
/// ([`crate::ring::Seed::child`]): keyed hashes of different labels, so neither tells anything
/// about the other.
#[derive(Clone, Debug)]
pub struct SeededCiphertext {
    pub(crate) body: Poly,
    pub(crate) seed: [u8; 32],
    pub(crate) level: Level,
    pub(crate) scale: Scale,
    pub(crate) slots: usize,
    pub(crate) key: KeyId,
}

impl SeededCiphertext {
    /// Name of the secret key that decrypts.
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// The full ciphertext.
    pub fn expand(self, context: &Context) -> Ciphertext {
        let uniform = super::public::uniform_poly(context, self.body.basis(), &self.seed);
        Ciphertext::new(vec![self.body, uniform], self.level, self.scale, self.slots, self.key)
    }
}
