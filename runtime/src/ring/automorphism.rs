//! `X -> X^g` as a permutation of evaluations, and the Galois elements of slot rotations.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::kernels::Permutation;

/// Generator of the rotation group: powers of 5 and -1 make up all odd residues modulo 2N.
pub const ROTATION_GENERATOR: u64 = 5;

/// Galois element that rotates the slots *left* by `steps`: slot `i + steps` moves to slot `i`,
/// cyclically over N/2 slots. Negative steps rotate right.
///
/// Slot `j` is the value at `zeta^(5^j)`, and `X -> X^(5^k)` puts there the old value at
/// `zeta^(5^(j+k))`.
pub fn rotation_element(steps: i64, ring_degree: usize) -> u64 {
    let order = ring_degree as i64 / 2;
    let mut exponent = steps.rem_euclid(order) as u64;
    let mask = 2 * ring_degree as u64 - 1;
    let (mut result, mut square) = (1u64, ROTATION_GENERATOR);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = (result * square) & mask;
        }
        square = (square * square) & mask;
        exponent >>= 1;
    }
    result
}

/// Galois element of complex conjugation of all slots.
pub fn conjugation_element(ring_degree: usize) -> u64 {
    2 * ring_degree as u64 - 1
}

/// The inverse of an odd element modulo 2N.
pub fn inverse_element(element: u64, ring_degree: usize) -> u64 {
    // Newton's iteration modulo 2^64, then reduced: an odd x is its own inverse modulo 8.
    let mut inverse = element;
    for _ in 0..5 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(element.wrapping_mul(inverse)));
    }
    inverse & (2 * ring_degree as u64 - 1)
}

/// Permutations of evaluations by automorphisms, made on first use.
#[derive(Debug)]
pub struct Automorphisms {
    log_n: u32,
    permutations: RwLock<BTreeMap<u64, Arc<Permutation>>>,
}

impl Automorphisms {
    /// Those of the ring of degree `2^log_n`.
    pub fn new(log_n: u32) -> Self {
        Automorphisms { log_n, permutations: RwLock::default() }
    }

    /// The permutation of `X -> X^element`.
    ///
    /// # Panics
    /// If `element` is even.
    pub fn permutation(&self, element: u64) -> Arc<Permutation> {
        let element = element & ((2 << self.log_n) - 1);
        if let Some(found) = self.permutations.read().unwrap_or_else(PoisonError::into_inner).get(&element) {
            return Arc::clone(found);
        }
        let permutation = Arc::new(Permutation::new(self.log_n, element));
        let mut permutations = self.permutations.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(permutations.entry(element).or_insert(permutation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_form_the_rotation_group() {
        let n = 1 << 12;
        assert_eq!(rotation_element(0, n), 1);
        assert_eq!(rotation_element(1, n), 5);
        assert_eq!(rotation_element(n as i64 / 2, n), 1);
        for k in [1i64, 7, 100, 2047] {
            let product = rotation_element(k, n) * rotation_element(-k, n) % (2 * n as u64);
            assert_eq!(product, 1);
            assert_eq!(inverse_element(rotation_element(k, n), n), rotation_element(-k, n));
        }
        assert_eq!(inverse_element(conjugation_element(n), n), conjugation_element(n));
    }

    #[test]
    fn permutations_compose_like_the_group() {
        let all = Automorphisms::new(10);
        let (a, b) = (rotation_element(3, 1 << 10), conjugation_element(1 << 10));
        let (of_a, of_b, of_both) = (all.permutation(a), all.permutation(b), all.permutation(a * b));
        for i in 0..1 << 10 {
            assert_eq!(of_both.source(i), of_a.source(of_b.source(i)));
        }
    }
}
