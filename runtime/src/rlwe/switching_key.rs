//! Hybrid switching keys and their generation (Han and Ki, ePrint 2019/688, section 3).

use std::fmt;
use std::ops::Range;

use fhec_ir::scale::Level;
use rayon::prelude::*;
use zeroize::Zeroize;

use super::secret::SecretKey;
use crate::kernels::{self, Buffer, Isa, KeyLimb, Modulus, PACKED_BLOCK};
use crate::names::KeyId;
use crate::names::SwitchingKeyKind;
use crate::parallel;
use crate::ring::automorphism::inverse_element;
use crate::ring::packed::PackedLimbs;
use crate::ring::sampling::{gaussian, reduce_small, uniform_from_seed};
use crate::ring::{Basis, Context, Domain, Poly, Seed};

/// Switches a polynomial that multiplies `from` to one that multiplies `to`: per digit `d`, an
/// encryption under `to` of `P g_d from`, where `g_d` is 1 modulo the primes of the digit and 0
/// modulo the other chain primes.
///
/// For relinearisation `from = s^2` and `to = s`. For `X -> X^g`, `from = s` and `to = s(X^(1/g))`:
/// the key is applied *before* the automorphism, so that one decomposition serves many of them
/// (hoisting).
///
/// Both halves are in Montgomery form, over the primes of `level` and the special primes, `[limb]`
/// as [`kernels::key_inner_product`] reads it: what one target prime needs lies together, in as
/// many bits as the prime has, and a lower level reads a part of it.
#[derive(Clone)]
#[doc(alias("hybrid key switching", "dnum", "evk"))]
pub struct SwitchingKey {
    kind: SwitchingKeyKind,
    id: KeyId,
    level: Level,
    basis: Basis,
    digits: usize,
    degree: usize,
    uniform_seed: [u8; 32],
    /// Both halves of all digits.
    words: PackedLimbs,
}

impl SwitchingKey {
    /// The key of `kind` for levels up to `level`, made from `seed` on all threads.
    pub(crate) fn generate(
        context: &Context,
        secret: &SecretKey,
        seed: &Seed,
        kind: SwitchingKeyKind,
        level: Level,
    ) -> Self {
        // Every key has its own randomness: the same errors under two secrets would give the
        // secrets away.
        let seed = seed.child(&format!("{kind} of {:?}", secret.id().0), u64::from(level));
        let basis = context.key_basis(level);
        let (mut from, mut to) = (secret.poly().restricted(context, basis), None);
        match kind {
            SwitchingKeyKind::Relinearization => from.mul_assign(context, secret.poly()),
            SwitchingKeyKind::Galois { element } => {
                let mut image = Poly::arbitrary(context, basis, Domain::Evaluation);
                from.automorphism_into(context, &mut image, inverse_element(element, context.ring_degree()));
                to = Some(image);
            }
        }
        let digits = context.params().digits(level);
        let degree = context.ring_degree();
        let isa = context.isa();
        let mut errors = vec![0i8; digits.len() * degree];
        errors.par_chunks_exact_mut(degree).enumerate().for_each(|(digit, error)| {
            gaussian(error, &mut seed.child("error", digit as u64).rng());
        });
        let uniform_seed = seed.child("uniform", 0).bytes();
        let public = Seed::from_bytes(uniform_seed);
        let mut words = PackedLimbs::zeroed(context, basis, 2 * digits.len() * degree);
        parallel::for_each(words.limbs_mut(), |(limb, bits, words)| {
            let prime = context.prime(basis, limb);
            let modulus = context.modulus(prime);
            let target = to.as_ref().map_or(secret.poly().limb_in(basis, limb), |to| to.limb(limb));
            let mut scratch = context.scratch(3);
            let (body, rest) = scratch.split_at_mut(degree);
            let (uniform, product) = rest.split_at_mut(degree);
            for (digit, range) in digits.iter().enumerate() {
                expand_uniform(uniform, modulus, &public, digit, prime);
                reduce_small(body, &errors[digit * degree..][..degree], modulus);
                context.transform(prime).forward(isa, body);
                kernels::mul_montgomery_into(isa, product, target, uniform, modulus);
                kernels::sub_assign(isa, body, product, modulus);
                if range.contains(&limb) {
                    product.copy_from_slice(from.limb(limb));
                    kernels::mul_scalar_assign(
                        isa,
                        product,
                        context.special_product(prime, basis.special),
                        modulus,
                    );
                    kernels::add_assign(isa, body, product, modulus);
                }
                kernels::mul_scalar_assign(isa, body, modulus.to_montgomery(1), modulus);
                write_half(words, bits, digits.len(), (digit, 0), body);
                write_half(words, bits, digits.len(), (digit, 1), uniform);
            }
            scratch.zeroize();
        });
        errors.zeroize();
        from.data_mut().zeroize();
        if let Some(to) = &mut to {
            to.data_mut().zeroize();
        }
        let (id, digits) = (secret.id(), digits.len());
        SwitchingKey { kind, id, level, basis, digits, degree, uniform_seed, words }
    }

    /// A key read back, from its body as of [`Self::body`]: the uniform half is expanded from its
    /// seed.
    pub(crate) fn from_body(
        context: &Context,
        kind: SwitchingKeyKind,
        id: KeyId,
        level: Level,
        uniform_seed: [u8; 32],
        body: &[u64],
    ) -> Self {
        let basis = context.key_basis(level);
        let digits = context.params().digits(level).len();
        let degree = context.ring_degree();
        let public = Seed::from_bytes(uniform_seed);
        let mut words = PackedLimbs::zeroed(context, basis, 2 * digits * degree);
        assert_eq!(body.len(), basis.limbs() * digits * degree, "the body of a switching key");
        let limbs = words.limbs_mut().into_iter().zip(body.chunks_exact(digits * degree));
        parallel::for_each(limbs, |((limb, bits, words), body)| {
            let prime = context.prime(basis, limb);
            let mut uniform = context.scratch(1);
            for (digit, body) in body.chunks_exact(degree).enumerate() {
                expand_uniform(&mut uniform, context.modulus(prime), &public, digit, prime);
                write_half(words, bits, digits, (digit, 0), body);
                write_half(words, bits, digits, (digit, 1), &uniform);
            }
        });
        SwitchingKey { kind, id, level, basis, digits, degree, uniform_seed, words }
    }

    /// What it is for.
    pub fn kind(&self) -> SwitchingKeyKind {
        self.kind
    }

    /// Name of the secret key.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Highest level it serves.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Bytes in memory.
    pub fn bytes(&self) -> usize {
        self.words.bytes()
    }

    pub(crate) fn uniform_seed(&self) -> &[u8; 32] {
        &self.uniform_seed
    }

    /// The half that is no seed: `[limb][digit][coefficient]`, Montgomery form.
    pub(crate) fn body(&self, isa: Isa) -> Buffer {
        let mut body = Buffer::zeroed(self.basis.limbs() * self.digits * self.degree);
        body.par_chunks_exact_mut(self.degree).enumerate().for_each(|(index, body)| {
            let (limb, digit) = (index / self.digits, index % self.digits);
            let (words, bits) = self.words.limb(limb);
            let block = bits as usize;
            for (index, to) in body.chunks_exact_mut(PACKED_BLOCK).enumerate() {
                kernels::unpack_into(isa, to, &words[2 * block * (index * self.digits + digit)..], bits, 0);
            }
        });
        body
    }

    /// What [`kernels::key_inner_product`] takes for limb `limb` of `basis`, an extended basis
    /// contained in the key's, where the digits `absent` are passed over.
    #[inline]
    pub(crate) fn limb<'a>(&'a self, basis: Basis, limb: usize, absent: &'a [Range<usize>]) -> KeyLimb<'a> {
        let (words, bits) = self.words.limb(self.basis.limb_of(basis, limb));
        KeyLimb { words, bits, digits: self.digits, absent }
    }
}

impl fmt::Debug for SwitchingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("SwitchingKey");
        out.field("kind", &self.kind)
            .field("id", &self.id)
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

/// Uniform residues of one limb of one digit, from a child of the public seed of their own. They
/// *are* the Montgomery form.
fn expand_uniform(out: &mut [u64], modulus: &Modulus, public: &Seed, digit: usize, prime: usize) {
    uniform_from_seed(out, modulus, &public.child("limb", (digit as u64) << 32 | prime as u64));
}

/// Writes one half of one digit of a limb where it belongs.
fn write_half(words: &mut [u64], bits: u32, digits: usize, (digit, half): (usize, usize), residues: &[u64]) {
    let block = bits as usize;
    let blocks = words.chunks_exact_mut(2 * block * digits);
    for (to, from) in blocks.zip(residues.chunks_exact(PACKED_BLOCK)) {
        kernels::pack_into(&mut to[(2 * digit + half) * block..][..block], from, bits);
    }
}
