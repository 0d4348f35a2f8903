//! Subrings of polynomials in `X^c`: their transforms, and where their values stand in the
//! transform of the ring.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::kernels::{self, NttTable, evaluation_exponent};
use crate::ring::Context;

/// Values stand in groups of eight, which repeat up to eight times.
const MAX_LOG_REPEAT: u32 = 3;

/// Tables of the subring of polynomials in `X^c`.
#[derive(Debug)]
pub(super) struct Subring {
    log_degree: u32,
    /// `log2 c`.
    log_gap: u32,
    /// By number of the prime; empty for the ring itself, whose transforms the context has.
    transforms: Vec<NttTable>,
    /// Group `k` of the ring's evaluations, eight of them, is group `k >> log_repeat` of those
    /// taken in this order. Empty for the ring itself, where nothing repeats.
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
        // Evaluation `i` of the ring is this one of the subring.
        let index = |i: usize| position[exponent(i) as usize / 2];
        // Exponents in bit-reversed order agree modulo 2n for `c` neighbours; the transposition of
        // blocks of 64 makes whole groups of eight of them.
        let log_repeat = log_gap.min(MAX_LOG_REPEAT);
        let mut order: Vec<u32> = Vec::new();
        if log_gap > 0 {
            let groups = (0..context.ring_degree() / 8).step_by(1 << log_repeat);
            order.extend(groups.flat_map(|group| (8 * group..8 * group + 8).map(index)));
        }
        Subring { log_degree, log_gap, transforms: tables.collect(), order, log_repeat }
    }

    /// Its degree.
    pub(super) fn degree(&self) -> usize {
        1 << self.log_degree
    }

    fn ring_degree(&self) -> usize {
        1 << (self.log_degree + self.log_gap)
    }

    /// The transform modulo prime number `prime`.
    pub(super) fn transform<'t>(&'t self, context: &'t Context, prime: usize) -> &'t NttTable {
        self.transforms.get(prime).unwrap_or_else(|| context.transform(prime))
    }

    /// Number of values of [`Self::distinct_into`].
    pub(super) fn distinct(&self) -> usize {
        self.ring_degree() >> self.log_distinct_repeat()
    }

    /// `log2` of how often each of [`Self::distinct_into`] stands in a block of 64 of the ring.
    pub(super) fn log_distinct_repeat(&self) -> u32 {
        self.log_gap.min(kernels::MAX_LOG_REPEAT)
    }

    /// Of the evaluations `values`, those of every block of 64 in the ring once, as
    /// [`kernels::repeat_into`] takes them.
    pub(super) fn distinct_into(&self, out: &mut [u64], values: &[u64]) {
        let columns = self.log_distinct_repeat() - self.log_repeat;
        assert_eq!(out.len(), self.distinct(), "the values of all blocks");
        match self.order() {
            None => out.copy_from_slice(values),
            Some(order) => {
                for (out, &index) in out.iter_mut().zip(order.iter().step_by(1 << columns)) {
                    *out = values[index as usize];
                }
            }
        }
    }

    /// The evaluations of the subring, in the order in which the ring repeats them; `None` as they
    /// are.
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

    /// Evaluations of polynomials in `X^c` are those of the subring, where exponents agree.
    #[test]
    fn expanded_evaluations_are_those_of_the_ring() {
        let context = context(15, 1, 1);
        let modulus = context.modulus(0);
        for log_degree in 10..=15 {
            let subring = Subring::new(&context, log_degree);
            let degree = 1usize << log_degree;
            assert_eq!(subring.degree(), degree);
            assert_eq!(subring.log_repeat(), (15 - log_degree).min(3));
            assert_eq!(subring.order().map(<[u32]>::len), (log_degree < 15).then_some(degree.max(1 << 12)));
            let mut values: Vec<u64> = (0..degree as u64).map(|i| modulus.reduce(i * i + 7)).collect();
            let mut ring = vec![0; 1 << 15];
            ring.iter_mut().step_by(1 << (15 - log_degree)).zip(&values).for_each(|(x, &y)| *x = y);
            context.transform(0).forward(context.isa(), &mut ring);
            subring.transform(&context, 0).forward(context.isa(), &mut values);
            let mut distinct = vec![0; subring.distinct()];
            subring.distinct_into(&mut distinct, &values);
            for (start, length) in
                [(0, 1 << 15), (0, 64), (64, 128), (5 << 10, 1 << 10), ((1 << 15) - 64, 64)]
            {
                let repeat = subring.log_distinct_repeat();
                let mut out = vec![1; length];
                let values = &distinct[start >> repeat..][..length >> repeat];
                kernels::repeat_into(context.isa(), &mut out, values, repeat);
                assert!(out == ring[start..][..length], "2^{log_degree}, {length} from {start}");
            }
        }
    }
}
