//! Parameters of an RNS-CKKS instance: ring degree, modulus chain, special primes, secret,
//! canonical scales.
//!
//! Pure numbers. *Choosing* them is a pass (`fhec-passes`), *tables* built from them (roots,
//! twiddles, conversion constants) belong to the runtime.

use std::fmt;
use std::ops::Range;

use num_bigint::BigUint;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::key_demand::Encapsulation;
use crate::prime::is_ntt_prime;
use crate::prime_set::PrimeSet;
use crate::scale::{ExactScale, Level, Scale};

/// Smallest and largest supported `log2` of the ring degree.
pub const LOG_N_RANGE: std::ops::RangeInclusive<u32> = 10..=17;
/// Primes are below `2^61`: sums of four residues fit in a word.
pub const MAX_PRIME_BITS: u32 = 61;
/// Smallest and largest supported `log2` of a canonical scale.
pub const LOG_SCALE_RANGE: std::ops::RangeInclusive<u32> = 10..=60;
/// Standard deviation of the (rounded, centred) Gaussian error.
pub const ERROR_STDDEV: f64 = 3.2;

/// Distribution of the secret key's coefficients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "distribution")]
pub enum Secret {
    /// Each coefficient uniform in {-1, 0, 1}.
    UniformTernary,
    /// Exactly `hamming_weight` coefficients are -1 or 1, all others 0.
    SparseTernary {
        /// Number of non-zero coefficients.
        hamming_weight: u32,
    },
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Secret::UniformTernary => write!(f, "uniform ternary"),
            Secret::SparseTernary { hamming_weight } => write!(f, "sparse ternary, h = {hamming_weight}"),
        }
    }
}

/// Why a set of numbers is no parameter set.
#[derive(Clone, Debug, PartialEq, Error)]
#[allow(missing_docs)]
pub enum ParamsError {
    #[error("ring degree 2^{log_n} is outside 2^{} to 2^{}", LOG_N_RANGE.start(), LOG_N_RANGE.end())]
    RingDegree { log_n: u32 },
    #[error("{prime} is not a prime = 1 mod {} below 2^{MAX_PRIME_BITS}", 2u64 << .log_n)]
    NotNttPrime { prime: u64, log_n: u32 },
    #[error("prime {prime} occurs twice")]
    RepeatedPrime { prime: u64 },
    #[error("{primes} chain or special primes are more than {}", PrimeSet::CAPACITY)]
    ChainLength { primes: usize },
    #[error(
        "levels must have larger moduli from one to the next, hold the bottom prime, and with all below them be the first of the {primes} \
         primes, at the top all: {levels:?}"
    )]
    Levels { levels: Vec<PrimeSet>, primes: usize },
    #[error("digit_limbs {digit_limbs} must be at least 1, and at most the number of primes {primes}")]
    DigitLimbs { digit_limbs: usize, primes: usize },
    #[error(
        "a key-switching digit of {digit_bits:.1} bits needs special primes of at least as many bits, found {special_bits:.1}"
    )]
    SpecialPrimesTooSmall { digit_bits: f64, special_bits: f64 },
    #[error(
        "the canonical scale of level {level} is 2^{log2_scale:.1}, outside 2^10 to 2^60: primes and scale do not match"
    )]
    ScaleDrift { level: Level, log2_scale: f64 },
    #[error("Hamming weight {hamming_weight} is 0 or above the ring degree")]
    HammingWeight { hamming_weight: u32 },
    #[error(
        "fixed scales need strictly decreasing levels below the top level {top} and scales of 2^10 to 2^60: {found:?}"
    )]
    FixedScales { top: Level, found: Vec<FixedScale> },
}

/// What a parameter set is made from; [`Params::new`] validates it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParamsLiteral {
    /// Name for messages, e.g. `auto-n16-128`.
    pub name: String,
    /// `log2` of the ring degree N.
    pub log_n: u32,
    /// Chain primes, bottom to top.
    pub q: Vec<u64>,
    /// `levels[l]`: which of `q` a ciphertext at level `l` has. One prime per level is
    /// [`PrimeSet::prefixes`] of `1, 2, 3, ...`; prefixes that skip counts are levels of several
    /// small primes. A level may also lack primes of the levels below it: a rescale then divides by
    /// the primes that it drops over those it adds, so levels can be smaller than primes (Samardzic
    /// and Sanchez, *BitPacker*, ASPLOS 2024). The primes of all levels up to one are the first of
    /// the chain: keys for that level are over these.
    pub levels: Vec<PrimeSet>,
    /// Special primes for key switching.
    pub p: Vec<u64>,
    /// Chain primes per key-switching digit (alpha).
    pub digit_limbs: usize,
    /// `log2` of the canonical scale of the top level.
    pub log_scale: u32,
    /// Secret distribution.
    pub secret: Secret,
}

/// A level whose canonical scale is set instead of following from the level above: the top of a
/// segment of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FixedScale {
    /// The level.
    pub level: Level,
    /// `log2` of its canonical scale.
    pub log_scale: u32,
}

/// A validated parameter set with its canonical scales.
///
/// A chain for bootstrapping has segments of primes of different sizes, and a scale of its own for
/// each: the levels where a segment starts have a [`FixedScale`]. One step below a level for which
/// [`Params::continues`] is false the scale is not `D_l^2 / q`. Products with plaintexts, constants
/// and linear maps cross such a step as any other, because they are encoded at `q D_(l-1) / D_l`;
/// products of two ciphertexts do not, and are refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Params {
    literal: ParamsLiteral,
    fixed: Vec<FixedScale>,
    scales: Vec<ExactScale>,
    /// By level: how many of the first chain primes it and the levels below have among them.
    key_limbs: Vec<usize>,
}

impl Params {
    /// Validates `literal` and fixes the canonical scale of every level: one segment.
    pub fn new(literal: ParamsLiteral) -> Result<Self, ParamsError> {
        Params::segmented(literal, Vec::new())
    }

    /// Validates `literal` and fixes the canonical scale of every level, from the top down by the
    /// recurrence, but for the levels of `fixed` (highest first), where it is set.
    pub fn segmented(literal: ParamsLiteral, fixed: Vec<FixedScale>) -> Result<Self, ParamsError> {
        let ParamsLiteral { log_n, q, levels, p, digit_limbs, log_scale, secret, .. } = &literal;
        if !LOG_N_RANGE.contains(log_n) {
            return Err(ParamsError::RingDegree { log_n: *log_n });
        }
        // Before primes are tested: a test takes time, and a file may name any number of primes.
        if let Some(primes) = [q.len(), p.len()].into_iter().find(|&primes| primes > PrimeSet::CAPACITY) {
            return Err(ParamsError::ChainLength { primes });
        }
        let mut seen = std::collections::BTreeSet::new();
        for &prime in q.iter().chain(p) {
            if prime >= 1 << MAX_PRIME_BITS || prime % (2 << log_n) != 1 || !is_ntt_prime(prime, *log_n) {
                return Err(ParamsError::NotNttPrime { prime, log_n: *log_n });
            }
            if !seen.insert(prime) {
                return Err(ParamsError::RepeatedPrime { prime });
            }
        }
        let key_limbs: Vec<usize> = levels
            .iter()
            .scan(PrimeSet::EMPTY, |union, &level| {
                *union = union.with(level);
                Some(if *union == PrimeSet::first(union.len()) { union.len() } else { usize::MAX })
            })
            .collect();
        let modulus = |set: PrimeSet| product(q, set);
        if key_limbs.last() != Some(&q.len())
            || key_limbs.contains(&usize::MAX)
            || !levels.iter().all(|level| level.contains(PrimeSet::first(1)))
            || !levels.windows(2).all(|pair| modulus(pair[0]) < modulus(pair[1]))
        {
            return Err(ParamsError::Levels { levels: levels.clone(), primes: q.len() });
        }
        if *digit_limbs == 0 || *digit_limbs > q.len() {
            return Err(ParamsError::DigitLimbs { digit_limbs: *digit_limbs, primes: q.len() });
        }
        if let Secret::SparseTernary { hamming_weight } = *secret
            && (hamming_weight == 0 || hamming_weight > 1 << log_n)
        {
            return Err(ParamsError::HammingWeight { hamming_weight });
        }
        let special_bits = log2_product(p);
        let digit_bits = q.chunks(*digit_limbs).map(log2_product).fold(0.0, f64::max);
        // One bit of slack: the key-switching noise is divided by P, a slightly smaller P costs a
        // fraction of a bit.
        if digit_bits > special_bits + 1.0 {
            return Err(ParamsError::SpecialPrimesTooSmall { digit_bits, special_bits });
        }
        let top = levels.len() - 1;
        let below = |levels: &[FixedScale]| levels.windows(2).all(|w| w[0].level > w[1].level);
        if !below(&fixed)
            || fixed.iter().any(|f| usize::from(f.level) >= top || !LOG_SCALE_RANGE.contains(&f.log_scale))
        {
            return Err(ParamsError::FixedScales { top: top as Level, found: fixed });
        }
        // Before the first square: numbers of any size are no scale, and squaring them takes memory
        // without end.
        if !LOG_SCALE_RANGE.contains(log_scale) {
            let level = top as Level;
            return Err(ParamsError::ScaleDrift { level, log2_scale: f64::from(*log_scale) });
        }
        let mut scales = vec![ExactScale::power_of_two(*log_scale); levels.len()];
        let mut segments = fixed.iter().peekable();
        for level in (0..top).rev() {
            scales[level] = match segments.next_if(|f| usize::from(f.level) == level) {
                Some(segment) => ExactScale::power_of_two(segment.log_scale),
                None => scales[level + 1].square_over(&quotient(q, levels[level + 1], levels[level])),
            };
            // One after the other: the next square is of a scale in range.
            check_scale(level, &scales[level])?;
        }
        Ok(Params { literal, fixed, scales, key_limbs })
    }

    /// The numbers this set was made from.
    pub fn literal(&self) -> &ParamsLiteral {
        &self.literal
    }

    /// The levels whose scale was set, highest first; the top level is not among them.
    pub fn fixed_scales(&self) -> &[FixedScale] {
        &self.fixed
    }

    /// Whether `D_(level-1) = D_level^2 / q`: whether a product of two canonical values of `level`
    /// rescales to a canonical value. True at level 0, where nothing can be rescaled.
    pub fn continues(&self, level: Level) -> bool {
        !self.fixed.iter().any(|segment| segment.level + 1 == level)
    }

    /// Name for messages.
    pub fn name(&self) -> &str {
        &self.literal.name
    }

    /// `log2` of the ring degree.
    pub fn log_n(&self) -> u32 {
        self.literal.log_n
    }

    /// Bytes of buffers that a runtime keeps at rest for reuse, at most: 128 polynomials over all
    /// primes, and in small rings what a linear map has in the making.
    pub fn resting_bytes(&self) -> usize {
        const LEAST: usize = 1 << 28;
        ((128 * size_of::<u64>() * (self.q().len() + self.p().len())) << self.log_n()).max(LEAST)
    }

    /// Ring degree N.
    pub fn ring_degree(&self) -> usize {
        1 << self.literal.log_n
    }

    /// Slots of a ciphertext: N / 2.
    pub fn slots(&self) -> usize {
        1 << (self.literal.log_n - 1)
    }

    /// Chain primes, bottom to top.
    pub fn q(&self) -> &[u64] {
        &self.literal.q
    }

    /// Special primes.
    pub fn p(&self) -> &[u64] {
        &self.literal.p
    }

    /// Secret distribution.
    pub fn secret(&self) -> Secret {
        self.literal.secret
    }

    /// Entropy of the secret key in bits.
    pub fn secret_entropy_bits(&self) -> f64 {
        let n = self.ring_degree() as f64;
        match self.secret() {
            Secret::UniformTernary => n * 3f64.log2(),
            Secret::SparseTernary { hamming_weight } => {
                let h = f64::from(hamming_weight);
                let log2_factorial = |x: f64| libm::lgamma(x + 1.0) / std::f64::consts::LN_2;
                log2_factorial(n) - log2_factorial(h) - log2_factorial(n - h) + h
            }
        }
    }

    /// The highest level.
    pub fn top_level(&self) -> Level {
        (self.literal.levels.len() - 1) as Level
    }

    /// The chain primes of a ciphertext at `level`.
    ///
    /// # Panics
    /// If `level` is above [`Params::top_level`].
    pub fn primes(&self, level: Level) -> PrimeSet {
        self.literal.levels[level as usize]
    }

    /// Number of chain primes of a ciphertext at `level`.
    ///
    /// # Panics
    /// If `level` is above [`Params::top_level`].
    pub fn limbs(&self, level: Level) -> usize {
        self.primes(level).len()
    }

    /// The lowest level from `to` up that nests in level `from`, which is not below.
    ///
    /// # Panics
    /// If one is above [`Params::top_level`].
    pub fn nested_above(&self, from: Level, to: Level) -> Level {
        (to..from).find(|&level| self.nests(from, level)).unwrap_or(from)
    }

    /// Number of the chain primes that `level` and the levels below have among them, which are the
    /// first of the chain: what a key that serves all of them is over.
    ///
    /// # Panics
    /// If `level` is above [`Params::top_level`].
    pub fn key_limbs(&self, level: Level) -> usize {
        self.key_limbs[level as usize]
    }

    /// Whether a ciphertext at level `from` has all primes of level `to`: whether forgetting primes
    /// brings it there.
    ///
    /// # Panics
    /// If one is above [`Params::top_level`].
    pub fn nests(&self, from: Level, to: Level) -> bool {
        self.primes(from).contains(self.primes(to))
    }

    /// Chain primes per key-switching digit (alpha).
    pub fn digit_limbs(&self) -> usize {
        self.literal.digit_limbs
    }

    /// Ranges of chain primes of the key-switching digits of a key for `level`; the last may be
    /// shorter. A ciphertext's digits are those of its primes that are in each.
    pub fn digits(&self, level: Level) -> Vec<Range<usize>> {
        let limbs = self.key_limbs(level);
        (0..limbs)
            .step_by(self.digit_limbs())
            .map(|start| start..(start + self.digit_limbs()).min(limbs))
            .collect()
    }

    /// Canonical scale of `level`, exactly.
    pub fn canonical_scale(&self, level: Level) -> &ExactScale {
        &self.scales[level as usize]
    }

    /// The value that a scale's name stands for. [`Scale::squared`] is what rescales to the
    /// canonical scale of the level below: `D_level^2` inside a segment, `q D_(level-1)` at the
    /// step to the next one.
    pub fn scale(&self, name: Scale) -> ExactScale {
        let base = self.canonical_scale(name.level);
        if name.power == 2 && !self.continues(name.level) {
            let below = self.canonical_scale(name.level - 1);
            return below.mul(&self.rescale_divisor(name.level));
        }
        (1..name.power).fold(base.clone(), |scale, _| scale.mul(base))
    }

    /// What a rescale from `level` to `level - 1` divides by: the primes that it drops over those
    /// it adds.
    ///
    /// # Panics
    /// At level 0, where nothing can be dropped.
    pub fn rescale_divisor(&self, level: Level) -> ExactScale {
        self.modulus_quotient(level, level - 1)
    }

    /// The modulus of level `from` over that of level `to`.
    ///
    /// # Panics
    /// If one is above [`Params::top_level`].
    pub fn modulus_quotient(&self, from: Level, to: Level) -> ExactScale {
        quotient(self.q(), self.primes(from), self.primes(to))
    }

    /// Product of the chain primes at `level`.
    pub fn modulus(&self, level: Level) -> BigUint {
        product(self.q(), self.primes(level))
    }

    /// `log2` of the product of the chain primes at `level`.
    pub fn log_q(&self, level: Level) -> f64 {
        self.log_modulus(self.primes(level))
    }

    /// `log2` of the product of some chain primes.
    pub fn log_modulus(&self, primes: PrimeSet) -> f64 {
        primes.iter().map(|prime| (self.q()[prime] as f64).log2()).sum()
    }

    /// `log2(Q P)`: the largest modulus at which anything under this secret is published.
    pub fn log_qp(&self) -> f64 {
        log2_product(self.q()) + log2_product(self.p())
    }

    /// `log2(q_0 p_0)`: the modulus of the key that switches to an ephemeral secret, the only one
    /// published under it.
    pub fn log_ephemeral_modulus(&self) -> f64 {
        log2_product(&self.q()[..1]) + log2_product(&self.p()[..1])
    }

    /// Digest of everything that makes two parties' keys and ciphertexts compatible: the parameters
    /// (their name is left out), and what the keys to an ephemeral secret and back are made with,
    /// where a program has such. Which rotations those keys serve is left out: more of them make no
    /// other key.
    pub fn fingerprint(&self, encapsulation: Option<&Encapsulation>) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"fhec parameters 2");
        let l = &self.literal;
        let mut word = |value: u64| {
            hasher.update(&value.to_le_bytes());
        };
        word(u64::from(l.log_n));
        for list in [&l.q, &l.p] {
            word(list.len() as u64);
            list.iter().for_each(|&prime| word(prime));
        }
        word(l.levels.len() as u64);
        for level in &l.levels {
            word(level.bits() as u64);
            word((level.bits() >> 64) as u64);
        }
        word(l.digit_limbs as u64);
        word(u64::from(l.log_scale));
        word(match l.secret {
            Secret::UniformTernary => 0,
            Secret::SparseTernary { hamming_weight } => u64::from(hamming_weight),
        });
        // One segment: nothing, as before there were segments.
        for segment in &self.fixed {
            word(u64::from(segment.level));
            word(u64::from(segment.log_scale));
        }
        if let Some(Encapsulation { weight, level, special, .. }) = encapsulation {
            hasher.update(b"ephemeral secret");
            [u64::from(*weight), u64::from(*level), *special as u64].iter().for_each(|word| {
                hasher.update(&word.to_le_bytes());
            });
        }
        *hasher.finalize().as_bytes()
    }
}

/// Errs unless `scale` can be the canonical one of `level`.
fn check_scale(level: usize, scale: &ExactScale) -> Result<(), ParamsError> {
    let log2_scale = if scale.is_zero() { f64::NEG_INFINITY } else { scale.log2() };
    let [least, most] = [LOG_SCALE_RANGE.start(), LOG_SCALE_RANGE.end()].map(|&bits| f64::from(bits));
    match (least..=most).contains(&log2_scale) {
        true => Ok(()),
        false => Err(ParamsError::ScaleDrift { level: level as Level, log2_scale }),
    }
}

fn product(q: &[u64], primes: PrimeSet) -> BigUint {
    primes.iter().fold(BigUint::from(1u8), |acc, prime| acc * q[prime])
}

/// The product of the primes `over` divided by that of `under`; exact where it is an integer.
fn quotient(q: &[u64], over: PrimeSet, under: PrimeSet) -> ExactScale {
    let [over, under] = [over.without(under), under.without(over)].map(|primes| product(q, primes));
    ExactScale::power_of_two(0).mul_ratio(&over, &ExactScale::from_integer(&under))
}

fn log2_product(primes: &[u64]) -> f64 {
    primes.iter().map(|&prime| (prime as f64).log2()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prime::ntt_primes_near;

    fn literal() -> ParamsLiteral {
        let mut primes = ntt_primes_near(1 << 45, 16);
        let q: Vec<u64> = primes.by_ref().take(12).collect();
        ParamsLiteral {
            name: "test".into(),
            log_n: 16,
            levels: PrimeSet::prefixes(1..=q.len()),
            q,
            p: ntt_primes_near((1 << 50) - 1, 16).filter(|&p| p < 1 << 50).take(3).collect(),
            digit_limbs: 3,
            log_scale: 45,
            secret: Secret::UniformTernary,
        }
    }

    #[test]
    fn a_chain_near_its_scale_stays_there() {
        let params = Params::new(literal()).unwrap();
        assert_eq!(params.top_level(), 11);
        assert_eq!(params.digits(10), vec![0..3, 3..6, 6..9, 9..11]);
        for level in 0..=params.top_level() {
            assert!((params.canonical_scale(level).log2() - 45.0).abs() < 0.5);
        }
    }

    #[test]
    fn bad_sets_are_named() {
        let mut bad = literal();
        bad.q[3] += 2 << 16;
        assert!(matches!(
            Params::new(bad),
            Err(ParamsError::NotNttPrime { .. } | ParamsError::RepeatedPrime { .. })
        ));
        let mut bad = literal();
        bad.p.truncate(1);
        assert!(matches!(Params::new(bad), Err(ParamsError::SpecialPrimesTooSmall { .. })));
        let mut bad = literal();
        bad.log_scale = 20;
        assert!(matches!(Params::new(bad), Err(ParamsError::ScaleDrift { .. })));
        // Squared from level to level, a scale of this size would take gigabytes.
        for log_scale in [0, 9, 61, 3_000_000, u32::MAX] {
            let bad = ParamsLiteral { log_scale, ..literal() };
            assert!(matches!(Params::new(bad), Err(ParamsError::ScaleDrift { level: 11, .. })));
        }
        let mut bad = literal();
        bad.p = vec![bad.p[0]; 1 << 20];
        assert!(matches!(Params::new(bad), Err(ParamsError::ChainLength { primes: 0x10_0000 })));
        let mut bad = literal();
        bad.levels[0] = PrimeSet::EMPTY;
        assert!(matches!(Params::new(bad), Err(ParamsError::Levels { .. })));
    }

    #[test]
    fn segments_have_their_own_scales() {
        let fixed = vec![FixedScale { level: 7, log_scale: 45 }, FixedScale { level: 2, log_scale: 43 }];
        let params = Params::segmented(literal(), fixed.clone()).unwrap();
        assert_eq!(params.fixed_scales(), fixed);
        assert_eq!(params.canonical_scale(7), &ExactScale::power_of_two(45));
        assert_eq!(params.canonical_scale(2), &ExactScale::power_of_two(43));
        let continuing: Vec<Level> = (0..=11).filter(|&l| params.continues(l)).collect();
        assert_eq!(continuing, [0, 1, 2, 4, 5, 6, 7, 9, 10, 11]);
        for level in 1..=params.top_level() {
            // The name of a product is the scale that rescales to the canonical one below.
            let product = params.scale(Scale::squared(level));
            let below = params.scale(Scale::canonical(level - 1)).log2();
            let divisor = (params.q()[usize::from(level)] as f64).log2();
            assert!((product.log2() - divisor - below).abs() < 1e-12, "level {level}");
        }
        assert_ne!(params.fingerprint(None), Params::new(literal()).unwrap().fingerprint(None));
        for bad in [
            vec![FixedScale { level: 11, log_scale: 40 }],
            vec![FixedScale { level: 3, log_scale: 40 }, FixedScale { level: 3, log_scale: 40 }],
            vec![FixedScale { level: 3, log_scale: 61 }],
        ] {
            assert!(matches!(Params::segmented(literal(), bad), Err(ParamsError::FixedScales { .. })));
        }
    }

    #[test]
    fn entropy_of_secrets() {
        let uniform = Params::new(literal()).unwrap();
        assert!((uniform.secret_entropy_bits() - 65_536.0 * 1.584_962_5).abs() < 1.0);
        // 65536 choose 2 places, two signs each.
        let secret = Secret::SparseTernary { hamming_weight: 2 };
        let sparse = Params::new(ParamsLiteral { secret, ..literal() }).unwrap();
        assert!((sparse.secret_entropy_bits() - (65_536.0 * 65_535.0 * 2.0f64).log2()).abs() < 1e-6);
    }

    #[test]
    fn the_fingerprint_ignores_only_the_name() {
        let params = Params::new(literal()).unwrap();
        let mut renamed = literal();
        renamed.name = "other".into();
        assert_eq!(params.fingerprint(None), Params::new(renamed).unwrap().fingerprint(None));
        let mut changed = literal();
        changed.digit_limbs = 2;
        assert_ne!(params.fingerprint(None), Params::new(changed).unwrap().fingerprint(None));
    }

    #[test]
    fn the_fingerprint_holds_the_ephemeral_secret() {
        let params = Params::new(literal()).unwrap();
        let keys = Encapsulation { weight: 32, level: 11, special: 1, rotations: [0].into() };
        let fingerprint = |keys: &Encapsulation| params.fingerprint(Some(keys));
        let other = |change: &dyn Fn(&mut Encapsulation)| {
            let mut keys = keys.clone();
            change(&mut keys);
            fingerprint(&keys)
        };
        assert_ne!(fingerprint(&keys), params.fingerprint(None));
        assert_ne!(fingerprint(&keys), other(&|keys| keys.weight = 1));
        assert_ne!(fingerprint(&keys), other(&|keys| keys.level = 10));
        assert_ne!(fingerprint(&keys), other(&|keys| keys.special = 2));
        assert_eq!(fingerprint(&keys), other(&|keys| keys.rotations = [0, 1].into()));
    }
}
