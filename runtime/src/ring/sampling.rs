//! Seeds, and random polynomials made from them.
//!
//! All randomness is ChaCha20 keyed by a 32-byte seed. Seeds form a tree: a child is the keyed
//! BLAKE3 hash of a label and an index, so independent parts can be made in any order, on any
//! thread, and only as far as needed.

use std::fmt;

use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use thiserror::Error;
use zeroize::Zeroize;

use crate::kernels::Modulus;

/// The operating system gave no randomness.
#[derive(Debug, Error)]
#[error("the operating system's random number generator failed: {0}")]
pub struct RandomnessError(getrandom::Error);

/// A 32-byte seed. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct Seed([u8; 32]);

impl Drop for Seed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Seed {
    /// A seed from the operating system.
    pub fn random() -> Result<Self, RandomnessError> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(RandomnessError)?;
        Ok(Seed(bytes))
    }

    /// A given seed: for public seeds, and for reproducible tests.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Seed(bytes)
    }

    /// The seed itself. Only of seeds meant to be public.
    pub(crate) fn bytes(&self) -> [u8; 32] {
        self.0
    }

    /// The child named `(label, index)`. Knowing it tells nothing about this seed or its other
    /// children.
    pub fn child(&self, label: &str, index: u64) -> Seed {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher
            .update(&(label.len() as u64).to_le_bytes())
            .update(label.as_bytes())
            .update(&index.to_le_bytes());
        let mut bytes = hasher.finalize();
        let seed = Seed(*bytes.as_bytes());
        hasher.zeroize();
        bytes.zeroize();
        seed
    }

    /// The generator keyed by this seed, which wipes its state when it is dropped.
    pub fn rng(&self) -> ChaCha20Rng {
        ChaCha20Rng::from_seed(self.0)
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// Uniform residues, by rejection from the bits of the modulus.
pub fn uniform_into(out: &mut [u64], modulus: &Modulus, rng: &mut impl Rng) {
    let (q, mask) = (modulus.value(), u64::MAX >> (64 - modulus.bits()));
    for x in out {
        *x = loop {
            let candidate = rng.next_u64() & mask;
            if candidate < q {
                break candidate;
            }
        };
    }
}

/// [`uniform_into`] from the generator keyed by `seed`: words are drawn by the hundred, and kept or
/// not without a branch, which primes just above a power of two would make a coin toss.
pub fn uniform_from_seed(out: &mut [u64], modulus: &Modulus, seed: &Seed) {
    const BLOCK: usize = 128;
    let (q, mask) = (modulus.value(), u64::MAX >> (64 - modulus.bits()));
    let (mut rng, mut bytes) = (seed.rng(), [0; 8 * BLOCK]);
    let mut kept = 0;
    while kept < out.len() {
        rng.fill_bytes(&mut bytes);
        for word in bytes.as_chunks::<8>().0 {
            let candidate = u64::from_le_bytes(*word) & mask;
            // Overwritten by the next one unless it is kept.
            let Some(slot) = out.get_mut(kept) else { break };
            *slot = candidate;
            kept += usize::from(candidate < q);
        }
    }
}

/// `round(2^64 P(|X| >= k))` for `k = 1, 2, ...`, where `P(X = x)` is proportional to `exp(-x^2 /
/// (2 * 3.2^2))`. The tail left out has probability below `2^-64`.
const GAUSSIAN_TAILS: [u64; 29] = [
    16146998402851019600,
    11766696741403885860,
    7983258365260500106,
    5019398004726914548,
    2913597421309158499,
    1556643268624438348,
    763591502400326249,
    343226715953179423,
    141139170170719658,
    53025924174058206,
    18181661361543376,
    5684545664134735,
    1619394217805204,
    420082440357688,
    99177874129439,
    21301069328150,
    4160360329592,
    738692326235,
    119200779025,
    17477270552,
    2327861019,
    281611875,
    30937613,
    3086061,
    279480,
    22976,
    1715,
    116,
    7,
];

/// Discrete Gaussian integers of standard deviation 3.2 ([`fhec_ir::params::ERROR_STDDEV`]), at
/// most 29 in size.
///
/// By inversion over the whole table for every sample, without a branch on the value.
pub fn gaussian(out: &mut [i8], rng: &mut impl Rng) {
    let mut signs = 0u64;
    for (i, x) in out.iter_mut().enumerate() {
        if i % 64 == 0 {
            signs = rng.next_u64();
        }
        let uniform = rng.next_u64();
        let size: i8 = GAUSSIAN_TAILS.iter().map(|&tail| i8::from(uniform < tail)).sum();
        let sign = (signs & 1) as i8;
        signs >>= 1;
        *x = (size ^ -sign) + sign;
    }
}

/// Independent coefficients, uniform in {-1, 0, 1}.
pub fn ternary(out: &mut [i8], rng: &mut impl Rng) {
    let (mut bits, mut left) = (0u64, 0);
    for x in out {
        *x = loop {
            if left == 0 {
                (bits, left) = (rng.next_u64(), 32);
            }
            let pair = (bits & 3) as i8;
            bits >>= 2;
            left -= 1;
            if pair < 3 {
                break pair - 1;
            }
        };
    }
}

/// Exactly `weight` coefficients are -1 or 1 with equal probability, at uniform positions; all
/// others 0.
pub fn sparse_ternary(out: &mut [i8], weight: u32, rng: &mut impl Rng) {
    assert!(weight as usize <= out.len(), "Hamming weight {weight} above the degree {}", out.len());
    out.fill(0);
    let mask = out.len().next_power_of_two() - 1;
    for _ in 0..weight {
        loop {
            let word = rng.next_u64();
            let position = (word >> 1) as usize & mask;
            if position < out.len() && out[position] == 0 {
                out[position] = if word & 1 == 0 { 1 } else { -1 };
                break;
            }
        }
    }
}

/// Residues of small signed integers.
pub(crate) fn reduce_small(out: &mut [u64], small: &[i8], modulus: &Modulus) {
    let q = modulus.value();
    for (out, &x) in out.iter_mut().zip(small) {
        // Adds q exactly when x is negative.
        *out = (i64::from(x) as u64).wrapping_add(q & (i64::from(x) >> 63) as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fhec_ir::params::ERROR_STDDEV;
    use fhec_ir::prime::ntt_primes_near;

    /// Seeds of keys and ciphertexts travel in place of their uniform halves: the stream must be
    /// ChaCha20's for ever.
    #[test]
    fn the_generator_is_chacha20_with_a_nonce_of_zero() {
        let mut bytes = [0; 80];
        Seed::from_bytes([0; 32]).rng().fill_bytes(&mut bytes);
        // Test vector 1 of RFC 8439, A.1, and the start of vector 2, the next block.
        assert_eq!(bytes[..8], [0x76, 0xb8, 0xe0, 0xad, 0xa0, 0xf1, 0x3d, 0x90]);
        assert_eq!(bytes[56..64], [0xc3, 0x87, 0xb6, 0x69, 0xb2, 0xee, 0x65, 0x86]);
        assert_eq!(bytes[64..72], [0x9f, 0x07, 0xe7, 0xbe, 0x55, 0x51, 0x38, 0x7a]);
    }

    fn rng(label: &str) -> ChaCha20Rng {
        Seed::from_bytes([1; 32]).child(label, 0).rng()
    }

    #[test]
    fn the_gaussian_table_is_the_gaussian() {
        let weight = |k: usize| (-((k * k) as f64) / (2.0 * ERROR_STDDEV * ERROR_STDDEV)).exp();
        let total = weight(0) + 2.0 * (1..60).map(weight).sum::<f64>();
        for (i, &tail) in GAUSSIAN_TAILS.iter().enumerate() {
            let exact = 2.0 * (i + 1..60).rev().map(weight).sum::<f64>() / total * 2f64.powi(64);
            assert!((tail as f64 - exact).abs() <= 0.5 + exact * 1e-14, "tail {}", i + 1);
        }
    }

    #[test]
    fn gaussian_samples_have_the_moments() {
        let mut x = vec![0i8; 1 << 20];
        gaussian(&mut x, &mut rng("gaussian"));
        let count = x.len() as f64;
        let moment = |power: i32| x.iter().map(|&x| f64::from(x).powi(power)).sum::<f64>() / count;
        // Standard errors: sigma / 2^10 of the mean, sigma^2 sqrt(2) / 2^10 of the variance; five
        // of each.
        assert!(moment(1).abs() < 5.0 * ERROR_STDDEV / 1024.0);
        let variance = ERROR_STDDEV * ERROR_STDDEV;
        assert!((moment(2) - variance).abs() < 5.0 * variance * 2f64.sqrt() / 1024.0);
        assert!((moment(4) / (3.0 * variance * variance) - 1.0).abs() < 0.05);
    }

    #[test]
    fn ternary_secrets_have_their_distribution() {
        let mut x = vec![0i8; 1 << 16];
        ternary(&mut x, &mut rng("ternary"));
        for value in -1..=1 {
            let share = x.iter().filter(|&&x| x == value).count() as f64 / x.len() as f64;
            assert!((share - 1.0 / 3.0).abs() < 5.0 * (2.0f64 / 9.0).sqrt() / 256.0);
        }
        sparse_ternary(&mut x, 192, &mut rng("sparse"));
        assert_eq!(x.iter().filter(|&&x| x != 0).count(), 192);
        assert!(x.iter().filter(|&&x| x == 1).count().abs_diff(96) < 5 * 7);
    }

    #[test]
    fn fast_uniform_residues_are_the_same() {
        // Nearly half of the words rejected, nearly none, and some of each.
        let above = ntt_primes_near(1 << 49, 12).find(|&q| q > 1 << 49).unwrap();
        let below = ntt_primes_near(1 << 49, 12).find(|&q| q < 1 << 49).unwrap();
        for q in [above, below, 12289, 3] {
            let modulus = Modulus::new(q).unwrap();
            for len in [0, 1, 127, 128, 129, 5000] {
                let seed = Seed::from_bytes([3; 32]).child("uniform", len as u64);
                let (mut fast, mut slow) = (vec![u64::MAX; len], vec![0; len]);
                uniform_from_seed(&mut fast, &modulus, &seed);
                uniform_into(&mut slow, &modulus, &mut seed.rng());
                assert_eq!(fast, slow);
            }
        }
    }

    #[test]
    fn uniform_residues_fill_the_range() {
        let modulus = Modulus::new(12289).unwrap();
        let mut x = vec![0; 1 << 16];
        uniform_into(&mut x, &modulus, &mut rng("uniform"));
        assert!(x.iter().all(|&x| x < 12289));
        let mean = x.iter().sum::<u64>() as f64 / x.len() as f64;
        assert!((mean - 6144.0).abs() < 5.0 * 12289.0 / 12f64.sqrt() / 256.0);
        let mut small = vec![0; 4];
        reduce_small(&mut small, &[-1, 0, 1, -29], &modulus);
        assert_eq!(small, [12288, 0, 1, 12260]);
    }

    #[test]
    fn children_differ_and_repeat() {
        let seed = Seed::from_bytes([9; 32]);
        assert_eq!(seed.child("a", 1).0, seed.child("a", 1).0);
        assert_ne!(seed.child("a", 1).0, seed.child("a", 2).0);
        assert_ne!(seed.child("a", 1).0, seed.child("b", 1).0);
        assert_eq!(format!("{seed:?}"), "Seed(..)");
    }
}
