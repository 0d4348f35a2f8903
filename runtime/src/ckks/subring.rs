//! Subrings of polynomials in `X^c`: their transforms, and where their values stand in the transform of the ring.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::kernels::{NttTable, evaluation_exponent};
use crate::ring::Context;

/// Values stand in groups of eight, which repeat up to eight times.
const MAX_LOG_REPEAT: u32 = 3;

/// Tables of the subring of polynomials in `X^c`.
#[derive(Debug)]
pub(super) struct Subring {
    log_degree: u32,
    /// By number of the prime; empty for the ring itself, whose transforms the context has.
    transforms: Vec<NttTable>,
    /// Evaluation `i` of the ring is evaluation `index[i]` of the subring.
    index: Vec<u32>,
    /// Group `k` of the ring's evaluations, eight of them, is group `k >> log_repeat` of those taken in this order. Empty
    /// for the ring itself, where nothing repeats.
    order: Vec<u32>,
    log_repeat: u32,
}

impl Subring {
    fn new(context: &Context, log_degree: u32) -> Self {
        let log_n = context.params().log_n();
        let log_gap = log_n - log_degree;
        let gap = 1u64 << log_gap;
        let tables = context.moduli().iter().enumerate().filter(|_| log_gap > 0).map(|(prime, &modulus)| {
            let table =
                NttTable::new(modulus, log_degree).expect("a prime of the ring is one of its subrings");
            let root = modulus.pow(context.transform(prime).root(), gap);
            assert_eq!(table.root(), root, "roots of unity of both rings belong together");
            table
        });
        // (psi^c)^e for Y = X^c at psi^e: exponents modulo the order 2n of psi^c.
        let mut position = vec![0u32; 1 << log_degree];
        for i in 0..1usize << log_degree {
            position[evaluation_exponent(log_degree, i) as usize / 2] = i as u32;
        }
        let mask = (2u64 << log_degree) - 1;
        let exponent = |i| evaluation_exponent(log_n, i) & mask;
        let index: Vec<u32> =
            (0..context.ring_degree()).map(|i| position[exponent(i) as usize / 2]).collect();
        // Exponents in bit-reversed order agree modulo 2n for `c` neighbours; the transposition of blocks of 64 makes
        // whole groups of eight of them.
        let log_repeat = log_gap.min(MAX_LOG_REPEAT);
        let mut order: Vec<u32> = Vec::new();
        if log_gap > 0 {
            order.extend(index.chunks_exact(8).step_by(1 << log_repeat).flatten());
        }
        Subring { log_degree, transforms: tables.collect(), index, order, log_repeat }
    }

    /// Its degree.
    pub(super) fn degree(&self) -> usize {
        1 << self.log_degree
    }

    /// The transform modulo prime number `prime`.
    pub(super) fn transform<'t>(&'t self, context: &'t Context, prime: usize) -> &'t NttTable {
        self.transforms.get(prime).unwrap_or_else(|| context.transform(prime))
    }

    /// Evaluation `i` of the ring is evaluation `index[i]` of the subring.
    pub(super) fn index(&self) -> &[u32] {
        &self.index
    }

    /// The evaluations of the subring, in the order in which the ring repeats them; `None` as they are.
    pub(super) fn order(&self) -> Option<&[u32]> {
        (!self.order.is_empty()).then_some(&self.order[..])
    }

    /// `log2` of how often a group of eight evaluations in [`Self::order`] stands in the ring.
    pub(super) fn log_repeat(&self) -> u32 {
        self.log_repeat
    }
}

/// Subrings of one context, made at first use.
#[derive(Debug, Default)]
pub(super) struct Subrings(Mutex<BTreeMap<u32, Arc<Subring>>>);

impl Subrings {
    /// The subring of degree `2^log_degree`.
    pub(super) fn get(&self, context: &Context, log_degree: u32) -> Arc<Subring> {
        let mut subrings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(subrings.entry(log_degree).or_insert_with(|| Arc::new(Subring::new(context, log_degree))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::context;

    #[test]
    fn groups_of_eight_repeat() {
        let context = context(15, 1, 1);
        for log_degree in 10..=15 {
            let subring = Subring::new(&context, log_degree);
            let degree = 1 << log_degree;
            assert_eq!((subring.degree(), subring.index.len()), (degree, 1 << 15));
            let Some(order) = subring.order() else {
                assert!(log_degree == 15 && subring.index.iter().enumerate().all(|(i, &x)| i == x as usize));
                assert_eq!(subring.log_repeat(), 0);
                continue;
            };
            assert_eq!(order.len(), degree.max((1 << 15) / 8));
            for (group, values) in subring.index.chunks_exact(8).enumerate() {
                assert_eq!(values, &order[(group >> subring.log_repeat()) * 8..][..8], "2^{log_degree}");
            }
        }
    }
}
