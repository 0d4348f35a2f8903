//! Word-sized primes `q = 1 mod 2N`, the building stones of a modulus chain.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// `a * b mod q`.
pub fn mul_mod(a: u64, b: u64, q: u64) -> u64 {
    (u128::from(a) * u128::from(b) % u128::from(q)) as u64
}

/// `base^exponent mod q`.
pub fn pow_mod(base: u64, mut exponent: u64, q: u64) -> u64 {
    let (mut result, mut base) = (1 % q, base % q);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = mul_mod(result, base, q);
        }
        base = mul_mod(base, base, q);
        exponent >>= 1;
    }
    result
}

/// Deterministic Miller-Rabin: the first twelve primes as bases decide every `u64`
/// (Sorenson and Webster, "Strong pseudoprimes to twelve prime bases", 2015).
pub fn is_prime(n: u64) -> bool {
    const BASES: [u64; 12] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37];
    if n < 2 {
        return false;
    }
    for p in BASES {
        if n.is_multiple_of(p) {
            return n == p;
        }
    }
    let field = Montgomery::new(n);
    let (one, minus_one) = (field.one, n - field.one);
    let twos = (n - 1).trailing_zeros();
    let odd = (n - 1) >> twos;
    BASES.iter().all(|&base| {
        let mut x = field.pow(base, odd);
        if x == one || x == minus_one {
            return true;
        }
        (1..twos).any(|_| {
            x = field.mul(x, x);
            x == minus_one
        })
    })
}

/// Products modulo an odd number without divisions: numbers stand for their multiples by `2^64`
/// (Montgomery, Math. Comp. 1985). A search for parameters tests a hundred thousand numbers.
struct Montgomery {
    n: u64,
    /// `-1 / n` modulo `2^64`.
    inverse: u64,
    /// `2^64 mod n`.
    one: u64,
}

impl Montgomery {
    fn new(n: u64) -> Self {
        // Newton: each step doubles the bits that are right, three at the start.
        let inverse = (0..5).fold(n, |x: u64, _| x.wrapping_mul(2u64.wrapping_sub(n.wrapping_mul(x))));
        Montgomery { n, inverse: inverse.wrapping_neg(), one: (u64::MAX % n + 1) % n }
    }

    fn mul(&self, a: u64, b: u64) -> u64 {
        let product = u128::from(a) * u128::from(b);
        let multiple = u128::from((product as u64).wrapping_mul(self.inverse)) * u128::from(self.n);
        let (sum, carry) = product.overflowing_add(multiple);
        let high = (sum >> 64) as u64;
        if carry || high >= self.n { high.wrapping_sub(self.n) } else { high }
    }

    /// `base^exponent`, for a small base.
    fn pow(&self, base: u64, exponent: u64) -> u64 {
        let base = mul_mod(base % self.n, self.one, self.n);
        (0..u64::BITS - exponent.leading_zeros()).rev().fold(self.one, |power, bit| {
            let square = self.mul(power, power);
            if exponent >> bit & 1 == 1 { self.mul(square, base) } else { square }
        })
    }
}

/// Where primes of a chain are: `(2^20, 2^61)`.
const SMALLEST: u64 = 1 << 20;
const LARGEST: u64 = 1 << 61;
/// Numbers `q = 1 mod 2^(log_n + 1)` that are tested at once.
const BLOCK: u64 = 256;
/// Blocks that are kept, a few megabytes.
const MOST_BLOCKS: usize = 1 << 14;

/// The primes of blocks that were asked for, by `log_n` and the number of the block: a search for
/// parameters asks for primes near the same places thousands of times.
static KNOWN: LazyLock<Mutex<HashMap<(u32, u64), Arc<[u64]>>>> = LazyLock::new(Mutex::default);

/// Primes `q = 1 mod 2^(log_n + 1)` with `q >> (log_n + 1)` in a block, in ascending order.
fn block(log_n: u32, block: u64) -> Arc<[u64]> {
    // A panic elsewhere leaves the table whole: entries are put in at once.
    let lock = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = lock().get(&(log_n, block)) {
        return known.clone();
    }
    let candidates = (block * BLOCK..(block + 1) * BLOCK).map(|k| (k << (log_n + 1)) + 1);
    let inside = candidates.filter(|q| (SMALLEST + 1..LARGEST).contains(q));
    let primes: Arc<[u64]> = inside.filter(|&q| is_prime(q)).collect();
    let mut known = lock();
    if known.len() == MOST_BLOCKS {
        known.clear();
    }
    known.insert((log_n, block), primes.clone());
    primes
}

/// Whether `q` is a prime with `q = 1 mod 2^(log_n + 1)`.
pub fn is_ntt_prime(q: u64, log_n: u32) -> bool {
    if !(SMALLEST + 1..LARGEST).contains(&q) {
        return q & ((2 << log_n) - 1) == 1 && is_prime(q);
    }
    block(log_n, (q >> (log_n + 1)) / BLOCK).binary_search(&q).is_ok()
}

/// Primes `q = 1 mod 2^(log_n + 1)` in order of their distance from `centre`, nearest first (below
/// before above at equal distance). The iterator ends when all in `(2^20, 2^61)` were given.
pub fn ntt_primes_near(centre: u64, log_n: u32) -> impl Iterator<Item = u64> {
    let block_of = move |q: u64| (q >> (log_n + 1)) / BLOCK;
    let (first, last, middle) = (block_of(SMALLEST), block_of(LARGEST), block_of(centre));
    let down = (first..=middle.min(last)).rev();
    let below = down.flat_map(move |index| {
        let primes = block(log_n, index);
        (0..primes.len()).rev().map(move |i| primes[i])
    });
    let above = (middle.max(first)..=last).flat_map(move |index| {
        let primes = block(log_n, index);
        (0..primes.len()).map(move |i| primes[i])
    });
    let mut below = below.filter(move |&q| q <= centre).peekable();
    let mut above = above.filter(move |&q| q > centre).peekable();
    std::iter::from_fn(move || match (below.peek(), above.peek()) {
        (Some(&low), Some(&high)) if centre - low <= high - centre => below.next(),
        (_, Some(_)) => above.next(),
        (_, None) => below.next(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_match_a_sieve() {
        let mut composite = vec![false; 20_000];
        for i in 2..20_000usize {
            if !composite[i] {
                (2 * i..20_000).step_by(i).for_each(|j| composite[j] = true);
            }
            assert_eq!(is_prime(i as u64), !composite[i], "{i}");
        }
    }

    #[test]
    fn products_without_divisions_are_products() {
        let mut x = 0x9e37_79b9_7f4a_7c15_u64;
        for n in [3, 65_537, 1_099_510_054_913, (1 << 61) - 1, u64::MAX, u64::MAX - 58] {
            let field = Montgomery::new(n);
            for exponent in [0, 1, 2, 77, n - 1] {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let power = field.pow(x, exponent);
                assert_eq!(power, mul_mod(pow_mod(x, exponent, n), field.one, n), "{x}^{exponent} mod {n}");
            }
        }
    }

    #[test]
    fn strong_pseudoprimes_are_recognised() {
        // Composites that fool few-base tests.
        for n in [3_215_031_751u64, 3_474_749_660_383, 341_550_071_728_321, 3_825_123_056_546_413_051] {
            assert!(!is_prime(n));
        }
        assert!(is_prime((1 << 61) - 1));
    }

    /// All of them, whichever block the centre is in, and at both ends of what a chain may have.
    #[test]
    fn primes_are_those_nearest_by_definition() {
        let step = 1u64 << 13;
        let near = |from: u64, to: u64| (from..to).map(|k| k * step + 1).filter(|&q| is_prime(q));
        for centre in [1 << 30, (1 << 30) + 3 * step + 1, (1 << 31) - 1, BLOCK * step * 9, (1 << 20) + 5] {
            let middle = centre / step;
            let mut expected: Vec<u64> = near(middle.saturating_sub(3000), middle + 3000).collect();
            expected.retain(|&q| q > SMALLEST);
            expected.sort_by_key(|&q| (q.abs_diff(centre), q));
            let found: Vec<u64> = ntt_primes_near(centre, 12).take(60).collect();
            assert_eq!(found, expected[..60], "{centre}");
            for k in middle.saturating_sub(40)..middle + 40 {
                let q = k * step + 1;
                assert_eq!(is_ntt_prime(q, 12), is_prime(q), "{q}");
                assert!(!is_ntt_prime(q + 2, 12), "{q} + 2");
            }
        }
        let largest: Vec<u64> = ntt_primes_near(LARGEST, 16).take(3).collect();
        assert!(largest.iter().all(|&q| q < LARGEST) && largest.is_sorted_by(|a, b| a > b));
        let few = ntt_primes_near(1 << 40, 50);
        assert!(few.count() < 1 << 10, "the primes come to an end");
    }

    #[test]
    fn primes_come_nearest_first_and_are_ntt_friendly() {
        let centre = 1u64 << 45;
        let primes: Vec<u64> = ntt_primes_near(centre, 16).take(40).collect();
        let distance = |q: u64| q.abs_diff(centre);
        assert!(primes.windows(2).all(|w| distance(w[0]) <= distance(w[1])));
        assert!(primes.iter().all(|&q| q % (1 << 17) == 1 && is_prime(q)));
        let mut unique = primes.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), primes.len());
    }
}
