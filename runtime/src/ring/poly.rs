//! Polynomials: storage, domains, linear operations.

use std::fmt;

use super::basis::Basis;
use super::context::{Context, Work};
use super::pool::PooledBuffer;
use crate::kernels;

/// What the words of a limb are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// Coefficients of `1, X, X^2, ...`.
    Coefficient,
    /// Values at the odd powers of a primitive 2N-th root, in the order of
    /// [`evaluation_exponent`](crate::kernels::evaluation_exponent); products are slot by slot.
    Evaluation,
}

/// A polynomial of degree below N as canonical residues, `[limb][coefficient]` in one aligned
/// buffer.
///
/// Operations take the [`Context`] it was made with. They panic when domains or bases do not fit:
/// those are chosen by this crate, never by a user's input.
#[derive(Clone)]
pub struct Poly {
    data: PooledBuffer,
    degree: usize,
    basis: Basis,
    domain: Domain,
}

impl Poly {
    /// The zero polynomial.
    pub fn zero(context: &Context, basis: Basis, domain: Domain) -> Self {
        let mut poly = Self::arbitrary(context, basis, domain);
        poly.data.fill(0);
        poly
    }

    /// A polynomial with arbitrary words, to be overwritten in full.
    pub(crate) fn arbitrary(context: &Context, basis: Basis, domain: Domain) -> Self {
        Poly { data: context.scratch(basis.limbs()), degree: context.ring_degree(), basis, domain }
    }

    /// Primes of the limbs.
    #[inline]
    pub fn basis(&self) -> Basis {
        self.basis
    }

    /// Meaning of the words.
    #[inline]
    pub fn domain(&self) -> Domain {
        self.domain
    }

    /// Ring degree N.
    #[inline]
    pub fn degree(&self) -> usize {
        self.degree
    }

    /// Number of limbs.
    #[inline]
    pub fn limbs(&self) -> usize {
        self.data.len() / self.degree
    }

    /// All words, `[limb][coefficient]`.
    #[inline]
    pub fn data(&self) -> &[u64] {
        &self.data
    }

    /// All words, `[limb][coefficient]`; they must stay canonical residues.
    #[inline]
    pub fn data_mut(&mut self) -> &mut [u64] {
        &mut self.data
    }

    /// One limb.
    #[inline]
    pub fn limb(&self, limb: usize) -> &[u64] {
        &self.data[limb * self.degree..][..self.degree]
    }

    /// One limb; it must stay canonical.
    #[inline]
    pub fn limb_mut(&mut self, limb: usize) -> &mut [u64] {
        &mut self.data[limb * self.degree..][..self.degree]
    }

    /// The limb of the prime that limb `limb` of `basis` belongs to.
    #[inline]
    pub(crate) fn limb_in(&self, basis: Basis, limb: usize) -> &[u64] {
        self.limb(self.basis.limb_of(basis, limb))
    }

    /// A copy over a basis contained in this one.
    pub fn restricted(&self, context: &Context, basis: Basis) -> Self {
        assert!(self.basis.contains(basis), "restrict {:?} to {basis:?}", self.basis);
        let mut out = Self::arbitrary(context, basis, self.domain);
        for limb in 0..basis.limbs() {
            out.limb_mut(limb).copy_from_slice(self.limb_in(basis, limb));
        }
        out
    }

    /// Coefficients to evaluations, in place.
    pub fn to_evaluation(&mut self, context: &Context) {
        assert_eq!(self.domain, Domain::Coefficient, "forward transform");
        let basis = self.basis;
        context.each_limb(Work::Heavy, [&mut self.data], |limb, [x]| {
            context.transform(context.prime(basis, limb)).forward(context.isa(), x);
        });
        self.domain = Domain::Evaluation;
    }

    /// Evaluations to coefficients, in place.
    pub fn to_coefficients(&mut self, context: &Context) {
        assert_eq!(self.domain, Domain::Evaluation, "inverse transform");
        let basis = self.basis;
        context.each_limb(Work::Heavy, [&mut self.data], |limb, [x]| {
            context.transform(context.prime(basis, limb)).inverse(context.isa(), x);
        });
        self.domain = Domain::Coefficient;
    }

    /// `self += other`; `other` may have more limbs than `self`.
    pub fn add_assign(&mut self, context: &Context, other: &Poly) {
        self.zip_assign(context, other, kernels::add_assign);
    }

    /// `self -= other`; `other` may have more limbs than `self`.
    pub fn sub_assign(&mut self, context: &Context, other: &Poly) {
        self.zip_assign(context, other, kernels::sub_assign);
    }

    /// `self *= other`, slot by slot; `other` may have more limbs than `self`.
    pub fn mul_assign(&mut self, context: &Context, other: &Poly) {
        assert_eq!(self.domain, Domain::Evaluation, "products are taken in the evaluation domain");
        self.zip_assign(context, other, kernels::mul_assign);
    }

    /// `self = -self`.
    pub fn neg_assign(&mut self, context: &Context) {
        let basis = self.basis;
        context.each_limb(Work::Light, [&mut self.data], |limb, [x]| {
            kernels::neg_assign(context.isa(), x, context.modulus(context.prime(basis, limb)));
        });
    }

    /// `self *= factor` where `factor(prime)` is the residue of an integer.
    pub(crate) fn mul_scalar_assign(&mut self, context: &Context, factor: impl Fn(usize) -> u64 + Sync) {
        let basis = self.basis;
        context.each_limb(Work::Light, [&mut self.data], |limb, [x]| {
            let prime = context.prime(basis, limb);
            kernels::mul_scalar_assign(context.isa(), x, factor(prime), context.modulus(prime));
        });
    }

    fn zip_assign(
        &mut self,
        context: &Context,
        other: &Poly,
        f: impl Fn(kernels::Isa, &mut [u64], &[u64], &kernels::Modulus) + Sync,
    ) {
        self.check_operand(other);
        let basis = self.basis;
        context.each_limb(Work::Light, [&mut self.data], |limb, [x]| {
            let modulus = context.modulus(context.prime(basis, limb));
            f(context.isa(), x, other.limb_in(basis, limb), modulus);
        });
    }

    fn check_operand(&self, other: &Poly) {
        assert_eq!(self.domain, other.domain, "operands in different domains");
        assert!(other.basis.contains(self.basis), "operand over {:?} for {:?}", other.basis, self.basis);
    }

    /// `X -> X^element` of evaluations: `out = self(X^element)`. `element` is odd.
    pub fn automorphism_into(&self, context: &Context, out: &mut Poly, element: u64) {
        assert_eq!(self.domain, Domain::Evaluation, "automorphisms permute evaluations");
        assert_eq!(self.basis, out.basis, "automorphism between bases");
        let permutation = context.automorphism(element);
        out.domain = Domain::Evaluation;
        context.each_limb(Work::Light, [&mut out.data], |limb, [x]| {
            kernels::permute_into(context.isa(), x, self.limb(limb), &permutation);
        });
    }
}

impl PartialEq for Poly {
    fn eq(&self, other: &Self) -> bool {
        self.basis == other.basis && self.domain == other.domain && self.data[..] == other.data[..]
    }
}

impl fmt::Debug for Poly {
    /// Shape only: the words may be secret, and are never readable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Poly")
            .field("degree", &self.degree)
            .field("basis", &self.basis)
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}
