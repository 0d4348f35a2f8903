//! Constants of conversions between bases; what they mean and how they are used is in
//! [`super::basis_extension`].

use crate::kernels::{Modulus, Reciprocal};

/// Constants of the conversion from a set of primes to every other prime of a context.
#[doc(alias("BaseConv", "BConv", "fast basis conversion"))]
pub(crate) struct BasisConversion {
    /// Numbers of the source primes.
    pub(super) sources: Vec<usize>,
    /// Bit length of every source prime, and of the quotients, which are at most as many as there
    /// are sources.
    pub(super) source_bits: Vec<u32>,
    /// `(S / s_i)^-1 mod s_i`.
    pub(super) source_factors: Vec<u64>,
    /// `1 / s_i`.
    pub(super) reciprocals: Vec<Reciprocal>,
    /// By number of the target prime; empty for source primes.
    pub(super) targets: Vec<Target>,
    /// Whether factors hold more than the conversion, so that a single source is not simply
    /// reduced.
    scaled: bool,
}

#[derive(Clone, Default)]
pub(super) struct Target {
    /// `S / s_i` for every source, then `-S`, in Montgomery form.
    pub(super) factors: Vec<u64>,
    /// `S^-1`.
    pub(super) inverse: u64,
}

impl BasisConversion {
    pub(crate) fn new(moduli: &[Modulus], sources: Vec<usize>) -> Self {
        // The product of all source primes but number `skip`, modulo `m`.
        let product = |m: &Modulus, skip: Option<usize>| {
            let others = sources.iter().filter(|&&s| Some(s) != skip);
            others.fold(1, |product, &s| m.mul(product, m.reduce(moduli[s].value())))
        };
        let source_factors = sources.iter().map(|&s| moduli[s].inv(product(&moduli[s], Some(s)))).collect();
        let reciprocals = sources.iter().map(|&s| Reciprocal::new(moduli[s].value()));
        let targets = moduli.iter().enumerate().map(|(target, m)| {
            if sources.contains(&target) {
                return Target::default();
            }
            let all = product(m, None);
            let factors = sources.iter().map(|&s| product(m, Some(s))).chain([m.neg(all)]);
            Target { factors: factors.map(|f| m.to_montgomery(f)).collect(), inverse: m.inv(all) }
        });
        BasisConversion {
            source_bits: sources
                .iter()
                .map(|&s| moduli[s].bits())
                .chain([sources.len().ilog2() + 1])
                .collect(),
            source_factors,
            reciprocals: reciprocals.collect(),
            targets: targets.collect(),
            sources,
            scaled: false,
        }
    }

    /// Of a division by the product `D` of `dropped` of residues times the product `A` of `added`:
    /// from `A x` modulo `D` to what is left to do per target. For a prime of the residues that is
    /// the remainder over `A`, to be subtracted before all is multiplied by [`Target::inverse`],
    /// here `A / D`; for an added one, where `A x` is zero, the negative of the remainder over `D`.
    pub(crate) fn of_division(moduli: &[Modulus], dropped: Vec<usize>, added: &[usize]) -> Self {
        let mut conversion = BasisConversion::new(moduli, dropped);
        conversion.scaled = true;
        let product =
            |m: &Modulus| added.iter().fold(1, |product, &p| m.mul(product, m.reduce(moduli[p].value())));
        for (factor, &source) in conversion.source_factors.iter_mut().zip(&conversion.sources) {
            let m = &moduli[source];
            *factor = m.mul(*factor, product(m));
        }
        for (prime, (target, m)) in conversion.targets.iter_mut().zip(moduli).enumerate() {
            let factor = if added.contains(&prime) {
                m.neg(target.inverse)
            } else {
                let added = product(m);
                target.inverse = m.mul(target.inverse, added);
                m.inv(added)
            };
            target.factors.iter_mut().for_each(|f| *f = m.mul(*f, factor));
        }
        conversion
    }

    /// Whether residues modulo a single prime are just reduced.
    pub(super) fn reduces(&self) -> bool {
        self.sources.len() == 1 && !self.scaled
    }
}
