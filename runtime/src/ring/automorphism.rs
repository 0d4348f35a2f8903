//! `X -> X^g` as a permutation of evaluations, and the Galois elements of slot rotations.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::kernels::evaluation_exponent;

/// Generator of the rotation group: powers of 5 and -1 make up all odd residues modulo 2N.
pub const ROTATION_GENERATOR: u64 = 5;

/// Galois element that rotates the slots *left* by `steps`: slot `i + steps` moves to slot `i`, cyclically over
/// N/2 slots. Negative steps rotate right.
///
/// Slot `j` is the value at `zeta^(5^j)`, and `X -> X^(5^k)` puts there the old value at `zeta^(5^(j+k))`.
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

/// Index tables of automorphisms in evaluation order, made on first use.
///
/// The table of `g` reads `out[i] = in[table[i]]` for `out = in(X^g)`: evaluation `i` is taken at `psi^e(i)`, so the
/// new one is the old one at `psi^(e(i) g)`.
#[derive(Debug)]
pub struct Automorphisms {
    log_n: u32,
    /// `position[(e - 1) / 2]` is the index at which the value at `psi^e` stands.
    position: OnceLock<Vec<u32>>,
    tables: RwLock<BTreeMap<u64, Arc<Vec<u32>>>>,
}

impl Automorphisms {
    /// Tables of the ring of degree `2^log_n`.
    pub fn new(log_n: u32) -> Self {
        Automorphisms { log_n, position: OnceLock::new(), tables: RwLock::default() }
    }

    /// Index table of `X -> X^element`.
    ///
    /// # Panics
    /// If `element` is even.
    pub fn index(&self, element: u64) -> Arc<Vec<u32>> {
        assert!(element % 2 == 1, "X -> X^{element} is no automorphism");
        let degree = 1usize << self.log_n;
        let mask = 2 * degree as u64 - 1;
        let element = element & mask;
        if let Some(table) = self.tables.read().unwrap_or_else(PoisonError::into_inner).get(&element) {
            return Arc::clone(table);
        }
        let exponent = |index| evaluation_exponent(self.log_n, index);
        let position = self.position.get_or_init(|| {
            let mut position = vec![0u32; degree];
            (0..degree).for_each(|index| position[exponent(index) as usize / 2] = index as u32);
            position
        });
        let table: Vec<u32> = (0..degree)
            .map(|index| position[(exponent(index).wrapping_mul(element) & mask) as usize / 2])
            .collect();
        let mut tables = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(tables.entry(element).or_insert_with(|| Arc::new(table)))
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
    fn tables_compose_like_the_group() {
        let tables = Automorphisms::new(10);
        let (a, b) = (rotation_element(3, 1 << 10), conjugation_element(1 << 10));
        let (ta, tb, tab) = (tables.index(a), tables.index(b), tables.index(a * b));
        for i in 0..1 << 10 {
            assert_eq!(tab[i], ta[tb[i] as usize]);
        }
    }
}
