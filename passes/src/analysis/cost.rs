//! What an operation costs: seconds per kind of operation as a function of ring degree, limbs and
//! digits.
//!
//! A model counts transforms, products, conversions and passes of each operation, prices them with
//! separately measured kernels and multiplies by a factor per operation, for what the model leaves
//! out: allocations, gathers, waiting for a cache. What comes from memory each time, switching keys
//! above all, is added at the memory's rate. Measuring replaces factors and rate. What runs of
//! programs showed beyond that is a factor per op of programs ([`CostTable::runs`]).

use std::collections::BTreeMap;

use fhec_ir::packing::residue_bits;
use serde::{Deserialize, Serialize};

/// Numbers of a parameter set that costs depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingShape {
    /// `log2` of the ring degree.
    pub log_n: u32,
    /// Number of special primes.
    pub special: usize,
    /// Chain primes per key-switching digit.
    pub digit_limbs: usize,
    /// Bits of a residue of a switching key, on average.
    pub key_bits: u32,
    /// Digits beyond those that so many limbs need: where primes are left out, digits are smaller
    /// instead of fewer.
    pub more_digits: usize,
}

impl RingShape {
    /// The shape of `params`.
    pub fn of(params: &fhec_ir::params::Params) -> Self {
        RingShape {
            log_n: params.log_n(),
            special: params.p().len(),
            digit_limbs: params.digit_limbs(),
            key_bits: residue_bits(params, params.q().len()).div_ceil(params.q().len() + params.p().len())
                as u32,
            more_digits: 0,
        }
    }

    fn n(&self) -> f64 {
        f64::from(1u32 << self.log_n)
    }

    fn digits(&self, limbs: usize) -> usize {
        limbs.div_ceil(self.digit_limbs) + self.more_digits
    }

    /// Bytes of a ciphertext of `size` polynomials over `limbs` primes.
    pub fn ciphertext_bytes(&self, size: usize, limbs: usize) -> u64 {
        ((size * limbs) as u64) << (self.log_n + 3)
    }
}

/// Kinds of operations with a price of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpKind {
    /// Sum or difference of two ciphertexts.
    Add,
    /// Product of two ciphertexts, before relinearisation.
    Mul,
    /// Product of a ciphertext and an encoded plaintext.
    MulPlain,
    /// Product of a ciphertext and a plaintext that is kept as integers, as diagonals of linear
    /// maps are.
    Diagonal,
    /// A rotation of a linear map's operand, or the operand itself, laid out for products with
    /// diagonals.
    Tile,
    /// Residues of a plaintext that is encoded while an op runs, from its coefficients on.
    Encode,
    /// A sum of products in memory: made, or read and written again for the next operand.
    Sum,
    /// Division by the top prime of a level.
    Rescale,
    /// Digits of one polynomial, extended to all primes: shared by hoisted rotations.
    Decompose,
    /// Products of digits with a switching key.
    KeyProduct,
    /// Division of a pair of polynomials by the special primes.
    ModDown,
}

impl OpKind {
    /// All of them.
    pub const ALL: [OpKind; 11] = {
        use OpKind::*;
        [Add, Mul, MulPlain, Diagonal, Tile, Encode, Sum, Rescale, Decompose, KeyProduct, ModDown]
    };
}

/// Prices. Times are nanoseconds of one thread; `threads` says how many share the work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostTable {
    /// Where the numbers come from.
    pub machine: String,
    /// Threads that work on one operation.
    pub threads: usize,
    /// How much faster that is than one thread.
    pub speedup: f64,
    /// One transform of one limb, by `log2` of the ring degree.
    pub ntt_ns: BTreeMap<u32, f64>,
    /// One multiply-accumulate of a basis conversion.
    pub conversion_ns: f64,
    /// One product of residues in a sum of products.
    pub product_ns: f64,
    /// One residue of a subtraction and scaling (rescale and division by special primes).
    pub tail_ns: f64,
    /// One slot of a tensor that is laid out in vectors while an op runs.
    pub packing_ns: f64,
    /// One slot in one level of the transform from slots to coefficients.
    pub embedding_ns: f64,
    /// Bytes per nanosecond that all threads together read from memory.
    pub bytes_per_ns: f64,
    /// Time of an operation, without what it waits for memory, over its model's.
    pub factors: BTreeMap<OpKind, f64>,
    /// Time that ops of programs took on the machine over what all the above predicts, by mnemonic:
    /// 1 where nothing is said. Runs refine it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub runs: BTreeMap<String, f64>,
}

impl Default for CostTable {
    /// Two cores of an AMD EPYC with AVX-512 IFMA and primes below 2^50, as `fhec bench
    /// --calibrate` measured them. What is laid out, encoded and summed up was measured beside
    /// other work, so these factors keep their ratios to that of a diagonal, whose products and
    /// share of a sum of eight take together what they took before.
    fn default() -> Self {
        use OpKind::*;
        let factors = [
            (Add, 2.6),
            (Mul, 4.1),
            (MulPlain, 7.2),
            (Diagonal, 1.45),
            (Tile, 2.1),
            (Encode, 2.2),
            (Sum, 7.1),
            (Rescale, 1.5),
            (Decompose, 1.65),
            (KeyProduct, 1.5),
            (ModDown, 1.9),
        ];
        CostTable {
            machine: "measured on 2 vCPU AMD EPYC (Zen 5, AVX-512 IFMA)".into(),
            threads: 2,
            speedup: 1.85,
            ntt_ns: [(12, 2.3e3), (13, 4.8e3), (14, 10.0e3), (15, 20.0e3), (16, 46.0e3), (17, 115.0e3)]
                .into(),
            conversion_ns: 0.045,
            product_ns: 0.054,
            tail_ns: 0.10,
            packing_ns: 8.0,
            embedding_ns: 1.2,
            bytes_per_ns: 50.0,
            factors: factors.into(),
            runs: BTreeMap::new(),
        }
    }
}

impl CostTable {
    /// Floors for `threads` threads: the model alone, which counts what operations do at the price
    /// of the kernels and of memory, with nothing lost in between; on one thread without a speedup.
    pub fn floor(&self, threads: usize) -> CostTable {
        let speedup = if threads == 1 { 1.0 } else { self.speedup };
        CostTable { threads, speedup, factors: BTreeMap::new(), runs: BTreeMap::new(), ..self.clone() }
    }

    /// The factor of runs for an op of programs.
    pub fn of_runs(&self, mnemonic: &str) -> f64 {
        self.runs.get(mnemonic).copied().unwrap_or(1.0)
    }

    /// Which machine it is of, for people: what a plan says of its prices.
    pub fn in_words(&self) -> String {
        let refined = if self.runs.is_empty() { "" } else { ", refined by runs" };
        format!("{}, {} threads{refined}", self.machine, self.threads)
    }

    /// Digest of what was measured, without what runs showed: the same before and after they
    /// refine it.
    pub fn digest(&self) -> String {
        let measured = CostTable { runs: BTreeMap::new(), ..self.clone() };
        let text = serde_json::to_vec(&measured).expect("numbers by name are JSON");
        blake3::hash(&text).to_hex()[..16].to_string()
    }

    /// Seconds of one operation at `limbs` chain primes on a ciphertext of `size` polynomials (2
    /// where it makes no difference).
    pub fn seconds(&self, ring: RingShape, kind: OpKind, limbs: usize, size: usize) -> f64 {
        let (waiting, computing) = self.parts(ring, kind, limbs, size);
        waiting + self.factor(kind) * computing
    }

    /// Seconds of [`Self::seconds`] that the operation waits for memory, and seconds that its model
    /// computes, without the factor.
    pub fn parts(&self, ring: RingShape, kind: OpKind, limbs: usize, size: usize) -> (f64, f64) {
        let (n, l, k) = (ring.n(), limbs as f64, ring.special as f64);
        let (digits, size) = (ring.digits(limbs) as f64, size as f64);
        let word = f64::from(ring.key_bits) / 8.0;
        // (transforms, conversion products, residue products, passes, bytes)
        let (ntts, conversions, products, tails, bytes) = match kind {
            OpKind::Add => (0.0, 0.0, 0.0, size * l, 0.0),
            OpKind::Mul => (0.0, 0.0, 4.0 * l, 0.0, 0.0),
            OpKind::MulPlain => (0.0, 0.0, size * l, 0.0, 0.0),
            OpKind::Diagonal => return self.diagonal_parts(ring, limbs, 0),
            // Integers are reduced and transformed.
            OpKind::Encode => (l, 0.0, 0.0, 2.0 * l, 0.0),
            // Read and written.
            OpKind::Tile | OpKind::Sum => (0.0, 0.0, 0.0, 2.0 * size * l, 0.0),
            OpKind::Rescale => (size * l, 0.0, 0.0, size * (l - 1.0), 0.0),
            // A digit's own limbs need no transform forth; all of them need one back.
            OpKind::Decompose => {
                (l + digits * (l + k) - l, l * (l + k - ring.digit_limbs as f64).max(0.0), 0.0, 0.0, 0.0)
            }
            // Both halves of the key are read. Sums are written, added to the operand and permuted:
            // a dozen passes.
            OpKind::KeyProduct => {
                (0.0, 0.0, 2.0 * digits * (l + k), 12.0 * (l + k), 2.0 * digits * (l + k) * word)
            }
            OpKind::ModDown => (2.0 * (k + l), 2.0 * k * l, 0.0, 2.0 * l, 0.0),
        };
        let compute = ntts * self.ntt_ns(ring.log_n)
            + n * (conversions * self.conversion_ns + products * self.product_ns + tails * self.tail_ns);
        (n * bytes / self.bytes_per_ns * 1e-9, compute / self.speedup * 1e-9)
    }

    fn factor(&self, kind: OpKind) -> f64 {
        self.factors.get(&kind).copied().unwrap_or(1.0)
    }

    /// Seconds of a key switch of one ciphertext: a rotation, or a relinearisation.
    pub fn key_switch(&self, ring: RingShape, limbs: usize) -> f64 {
        [OpKind::Decompose, OpKind::KeyProduct, OpKind::ModDown]
            .into_iter()
            .map(|kind| self.seconds(ring, kind, limbs, 2))
            .sum()
    }

    /// Seconds of a rotation that shares its operand's digits and stays over the special primes
    /// (double hoisting).
    pub fn hoisted_rotation(&self, ring: RingShape, limbs: usize) -> f64 {
        self.seconds(ring, OpKind::KeyProduct, limbs, 2)
    }

    /// Seconds of one product with a diagonal that takes the share `2^-log_gap` of a polynomial:
    /// per prime, of `primes`, its residues are made of its integers by a transform of that size
    /// and two passes, and both halves of a ciphertext in cache are multiplied. From memory come
    /// the integers.
    pub fn diagonal(&self, ring: RingShape, primes: usize, log_gap: u32) -> f64 {
        let (waiting, computing) = self.diagonal_parts(ring, primes, log_gap);
        waiting + self.factor(OpKind::Diagonal) * computing
    }

    /// [`Self::parts`] of [`Self::diagonal`].
    pub fn diagonal_parts(&self, ring: RingShape, primes: usize, log_gap: u32) -> (f64, f64) {
        let (n, primes, share) = (ring.n(), primes as f64, 0.5f64.powi(log_gap as i32));
        let log_degree = ring.log_n.saturating_sub(log_gap);
        let passes = 2.0 * n * share * self.tail_ns;
        let compute = primes * (self.ntt_ns(log_degree) + passes + 2.0 * n * self.product_ns);
        let bytes = n * share * 4.0;
        (bytes / self.bytes_per_ns * 1e-9, compute / self.speedup * 1e-9)
    }

    /// Seconds of laying out and encoding the plaintexts of `vectors` ciphertexts over `primes`
    /// primes. One thread lays out all of them, and one transforms each to coefficients; all share
    /// its residues.
    pub fn encode(&self, ring: RingShape, primes: usize, vectors: usize) -> f64 {
        let slots = ring.n() / 2.0 * vectors as f64;
        let packing = slots * self.packing_ns * 1e-9;
        packing
            + self.embedding(ring.log_n - 1, vectors)
            + vectors as f64 * self.seconds(ring, OpKind::Encode, primes, 1)
    }

    /// Seconds of `count` transforms of `2^log_slots` slots to coefficients, each by one thread.
    pub fn embedding(&self, log_slots: u32, count: usize) -> f64 {
        let steps = f64::from(1u32 << log_slots) * f64::from(log_slots) * count as f64;
        steps * self.embedding_ns * 1e-9 / self.speedup.min(count as f64).max(1.0)
    }

    /// Seconds of one term of a sum of ciphertexts times constants: both halves come from memory,
    /// and cost a product per residue.
    pub fn constant_product(&self, ring: RingShape, limbs: usize) -> f64 {
        let words = 2.0 * ring.n() * limbs as f64;
        let compute = words * self.conversion_ns * self.factor(OpKind::Diagonal) / self.speedup;
        1e-9 * compute.max(words * 8.0 / self.bytes_per_ns)
    }

    fn ntt_ns(&self, log_n: u32) -> f64 {
        match self.ntt_ns.range(..=log_n).next_back().or_else(|| self.ntt_ns.iter().next()) {
            // Beyond the table: N log N from the nearest entry.
            Some((&known, &ns)) => {
                ns * 2f64.powi(log_n as i32 - known as i32) * f64::from(log_n) / f64::from(known)
            }
            None => 0.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RING: RingShape = RingShape { log_n: 16, special: 5, digit_limbs: 5, key_bits: 48, more_digits: 0 };

    /// Computed for 25 + 5 limbs by hand: 210 transforms, 57.3 M conversion products, 300 limb
    /// products, and passes over 30 limbs twelve times, over 50 once.
    #[test]
    fn the_model_counts_what_a_key_switch_does() {
        let mut table = CostTable::default().floor(1);
        table.bytes_per_ns = f64::INFINITY;
        let expected =
            210.0 * 46e-6 + 57.3e6 * 0.045e-9 + 300.0 * 65536.0 * 0.054e-9 + 410.0 * 65536.0 * 0.1e-9;
        let found = table.key_switch(RING, 25);
        assert!((found / expected - 1.0).abs() < 0.02, "{found} {expected}");
        let rescale = table.seconds(RING, OpKind::Rescale, 25, 2);
        assert!((rescale / (50.0 * 46e-6 + 48.0 * 65536.0 * 0.1e-9) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn costs_grow_with_limbs_and_ring() {
        let table = CostTable::default();
        for kind in [OpKind::Add, OpKind::Mul, OpKind::MulPlain, OpKind::Rescale, OpKind::KeyProduct] {
            let at = |log_n, limbs| table.seconds(RingShape { log_n, ..RING }, kind, limbs, 2);
            assert!(at(15, 10) < at(15, 11) && at(15, 10) < at(16, 10) && at(17, 10) > at(16, 10));
        }
    }

    #[test]
    fn tables_travel_as_json() {
        let table = CostTable::default();
        let text = serde_json::to_string(&table).unwrap();
        assert_eq!(serde_json::from_str::<CostTable>(&text).unwrap(), table);
    }
}
