//! What several kernel tests share: primes per size class and reproducible residues.

use super::{Buffer, Modulus};

/// The prime sizes that kernels distinguish, and some below.
pub(crate) const PRIME_BITS: [u32; 9] = [20, 31, 46, 48, 49, 50, 55, 60, 61];

/// The `skip`-th largest prime of exactly `bits` bits that is 1 modulo `2^(log_n + 1)`.
pub(crate) fn ntt_prime(bits: u32, log_n: u32, skip: usize) -> Modulus {
    let step = 1u64 << (log_n + 1);
    let top = ((1u64 << bits) - 1) / step * step + 1;
    (0..)
        .map(|k| top - k * step)
        .take_while(|&q| q >> (bits - 1) == 1)
        .filter_map(|q| Modulus::new(q).ok())
        .nth(skip)
        .expect("the size class has such a prime")
}

/// xorshift64*: reproducible words for tests, nothing secret.
pub(crate) struct Words(pub u64);

impl Words {
    /// The next word.
    pub(crate) fn word(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// `len` residues below `bound`; one in eight is an extreme, 0 or `bound - 1`.
    pub(crate) fn residues(&mut self, len: usize, bound: u64) -> Buffer {
        let mut draw = |_| match self.word() >> 60 {
            0 => 0,
            1 => bound - 1,
            _ => self.word() % bound,
        };
        Buffer::from((0..len).map(&mut draw).collect::<Vec<_>>())
    }
}
