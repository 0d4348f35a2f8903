//! Ring degree, modulus chain, special primes and digits.
//!
//! | | |
//! |---|---|
//! | Stage    | packed |
//! | Requires | a packed program for the ring's slots |
//! | Ensures  | parameters that hold its depth, keep the security level asked for, and whose predicted output error and memory are within what was asked |
//! | Fails    | [`ChooseParamsError`] |
//! | Method   | for every number of digits the largest scale that the limit on `log2(QP)` admits, up to a cap beyond which more bits buy nothing; each is compiled and estimated; the fastest one that satisfies wins |
//! | Tests    | `tests/filetests/ckks/choose_params/`, unit tests below |
//!
//! All primes are below `2^50`, the fast path of the kernels. Chain primes are chosen top down,
//! each the unused prime nearest to `D_l^2 / 2^log_scale`, so that canonical scales stay within a
//! fraction of a bit of `2^log_scale`. The base is `2^(1 + output_bits + HEADROOM_BITS)` above the
//! scale: one prime, or two of half the size where one would be too large. A digit's product is at
//! most P.

use fhec_ir::params::{Params, ParamsError, ParamsLiteral, Secret};
use fhec_ir::plan::Considered;
use fhec_ir::prime::ntt_primes_near;
use fhec_ir::prime_set::PrimeSet;
use fhec_ir::scale::ExactScale;
use thiserror::Error;

use crate::options::SecurityLevel;
use fhec_ir::security::{self, SecurityError};

/// Primes are below `2^MAX_PRIME_BITS`.
pub const MAX_PRIME_BITS: u32 = 50;
/// Bits between the largest output and half the base modulus.
pub const HEADROOM_BITS: u32 = 5;
/// Scales tried: below the first nothing useful is left after rounding, above the last primes get
/// too large.
pub const LOG_SCALES: std::ops::RangeInclusive<u32> = 26..=48;
/// Scale up to which precision costs nothing: base and chain are one prime per level, and there is
/// no need for more.
pub const PREFERRED_LOG_SCALE: u32 = 42;
/// Largest error of an output, in the network's own units, that is wanted where nothing else is
/// asked for: far below what tells classes apart.
pub const WANTED_OUTPUT_ERROR: f64 = 1e-4;
/// The same for programs that bootstrap: each bootstrap of a compact chain is good to about 2^-16
/// of the largest value. Of 5,000 images a ResNet-20 with errors of a sixteenth changes the class
/// of ten more than one with errors of a hundredth.
pub const WANTED_BOOTSTRAPPED_OUTPUT_ERROR: f64 = 1.0 / 64.0;
/// What is tolerated of a program that bootstraps is asked as many times as exact of others: there
/// it costs little.
pub const EXACTER: f64 = 16.0;
/// Bits below the largest value that outputs are to have at least, however small all of them are.
pub const LEAST_WANTED_BITS: f64 = 8.0;
/// Scale that messages about depth assume.
const TYPICAL_LOG_SCALE: u32 = 40;

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct ParamOptions {
    /// Security level.
    pub security: SecurityLevel,
    /// Distribution of the secret.
    pub secret: Secret,
    /// Largest output error, in bits below the largest value the program represents. Without it
    /// outputs are to be as exact as [`Self::tolerated_error`] says, or else to
    /// [`WANTED_OUTPUT_ERROR`], or as exact as possible where no ring reaches that.
    pub precision_bits: Option<f64>,
    /// The error that the worst output may have, in the network's units, as sample images have
    /// shown.
    pub tolerated_error: Option<f64>,
    /// Fixes the scale instead of searching it.
    pub log_scale: Option<u32>,
    /// Outputs are at most `2^output_bits` in absolute value.
    pub output_bits: u32,
    /// Bytes that evaluating may take.
    pub ram: Option<u64>,
    /// `log2` of the largest ring degree.
    pub max_log_n: u32,
}

impl Default for ParamOptions {
    /// 128 bits of security by a uniform ternary secret, rings up to 2^16.
    fn default() -> Self {
        ParamOptions {
            security: SecurityLevel::default(),
            secret: Secret::UniformTernary,
            precision_bits: None,
            tolerated_error: None,
            log_scale: None,
            output_bits: 0,
            ram: None,
            max_log_n: 16,
        }
    }
}

/// Why there are no parameters.
#[derive(Clone, Debug, PartialEq, Error)]
#[allow(missing_docs)]
pub enum ChooseParamsError {
    #[error(
        "the network needs {depth} levels, a ring of degree 2^{max_log_n} holds about {max_levels} at {security_bits} bits of \
         security, and no parameters with bootstrapping keep that level either; use shallower activations (a lower degree, or \
         polynomial ones) or a lower security level"
    )]
    TooDeep { depth: u32, max_levels: u32, max_log_n: u32, security_bits: u32 },
    #[error(
        "no ring holds {depth} levels with an output error below 2^{}; the best found is 2^{:.1}; \
         ask for less precision or use shallower activations",
        -wanted, -best
    )]
    Precision { depth: u32, wanted: f64, best: f64 },
    /// `nearest` is the set that needs least, priced at `needed` bytes.
    #[error(
        "evaluating needs at least {needed} bytes of memory, {ram} are allowed; raise the limit or use a smaller network"
    )]
    Memory { needed: u64, ram: u64, nearest: Box<Considered> },
    #[error("log_scale {log_scale} is outside {} to {}", LOG_SCALES.start(), LOG_SCALES.end())]
    LogScale { log_scale: u32 },
    #[error(transparent)]
    Security(#[from] SecurityError),
    #[error("parameters that were put together are invalid: {0}")]
    Params(#[from] ParamsError),
}

/// Shape of a set before its primes are searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sketch {
    log_n: u32,
    depth: u32,
    log_scale: u32,
    digit_limbs: usize,
    output_bits: u32,
}

impl Sketch {
    fn base_bits(&self) -> u32 {
        self.log_scale + self.output_bits + 1 + HEADROOM_BITS
    }

    fn base_limbs(&self) -> usize {
        if self.base_bits() < MAX_PRIME_BITS { 1 } else { 2 }
    }

    fn limbs(&self) -> usize {
        self.base_limbs() + self.depth as usize
    }

    /// Bits of the largest digit: the bottom one, which holds the base, or one of chain primes
    /// alone.
    fn digit_bits(&self) -> f64 {
        let scale = f64::from(self.log_scale);
        let alpha = self.digit_limbs.min(self.limbs());
        let bottom = if alpha >= self.base_limbs() {
            f64::from(self.base_bits()) + scale * (alpha - self.base_limbs()) as f64
        } else {
            f64::from(self.base_bits()) / 2.0
        };
        bottom.max(scale * alpha as f64)
    }

    /// Special primes: as few as hold a digit, with a bit to spare for primes that are not exactly
    /// their size.
    fn special(&self) -> usize {
        ((self.digit_bits() + 1.0) / f64::from(MAX_PRIME_BITS)).ceil() as usize
    }

    /// Bits of the smallest special primes that will do.
    fn special_bits(&self) -> f64 {
        (self.digit_bits() + 0.5) / self.special() as f64
    }

    fn least_log_qp(&self) -> f64 {
        f64::from(self.base_bits())
            + f64::from(self.log_scale * self.depth)
            + self.special() as f64 * self.special_bits()
    }

    /// Primes for the sketch; special primes near `2^50` if `wide`, else as small as possible.
    fn build(&self, secret: Secret, wide: bool) -> Result<Params, ParamsError> {
        let mut used = std::collections::BTreeSet::new();
        let mut take = |centre: f64, below: u64| {
            let near = ntt_primes_near(centre.min(2f64.powi(60)) as u64, self.log_n);
            let prime = near.into_iter().find(|prime| *prime < below && !used.contains(prime)).unwrap_or(0);
            used.insert(prime);
            prime
        };
        let fast = 1u64 << MAX_PRIME_BITS;
        let base_limbs = self.base_limbs();
        let base_size = (f64::from(self.base_bits()) / base_limbs as f64).exp2();
        let mut q: Vec<u64> = (0..base_limbs).map(|_| take(base_size, fast)).collect();
        let target = ExactScale::power_of_two(self.log_scale);
        let mut scale = ExactScale::power_of_two(self.log_scale);
        let mut chain = Vec::new();
        for _ in 0..self.depth {
            let ideal = scale.square_over(&target).to_f64();
            let prime = take(ideal, fast);
            chain.push(prime);
            scale = scale.square_over(&ExactScale::from_integer(&prime.max(1).into()));
        }
        q.extend(chain.into_iter().rev());
        let special_size = if wide { (fast - 1) as f64 } else { self.special_bits().exp2() };
        let p = (0..self.special()).map(|_| take(special_size, fast)).collect();
        Params::new(ParamsLiteral {
            name: format!("n{}-l{}-s{}-a{}", self.log_n, self.depth, self.log_scale, self.digit_limbs),
            log_n: self.log_n,
            levels: PrimeSet::prefixes(base_limbs..=q.len()),
            q,
            p,
            digit_limbs: self.digit_limbs,
            log_scale: self.log_scale,
            secret,
        })
    }
}

/// Which scales [`candidates`] tries where none is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scales {
    /// Up to [`PREFERRED_LOG_SCALE`].
    Preferred,
    /// Larger ones, at the price of another prime at the base.
    Beyond,
}

/// Parameter sets worth compiling for one ring: for each number of limbs per digit the one with the
/// largest scale. If there is none, `considered` gets a row that says why.
pub fn candidates(
    log_n: u32,
    depth: u32,
    scales: Scales,
    options: &ParamOptions,
    considered: &mut Vec<Considered>,
) -> Result<Vec<Params>, ChooseParamsError> {
    const MAX_DIGIT_LIMBS: usize = 10;
    let max_log_qp = match security::max_log_qp(log_n, options.secret, options.security.bits()) {
        Ok(max) => max,
        Err(SecurityError::OutOfReach { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let limit = f64::from(max_log_qp);
    let (least, most) = match (options.log_scale, scales) {
        (Some(log_scale), _) if !LOG_SCALES.contains(&log_scale) => {
            return Err(ChooseParamsError::LogScale { log_scale });
        }
        (Some(_), Scales::Beyond) => return Ok(Vec::new()),
        (Some(log_scale), Scales::Preferred) => (log_scale, log_scale),
        (None, Scales::Preferred) => (*LOG_SCALES.start(), PREFERRED_LOG_SCALE),
        (None, Scales::Beyond) => (PREFERRED_LOG_SCALE + 1, *LOG_SCALES.end()),
    };
    let sketch = |log_scale, digit_limbs| Sketch {
        log_n,
        depth,
        log_scale,
        digit_limbs,
        output_bits: options.output_bits,
    };
    let mut result = Vec::new();
    for digit_limbs in 1..=MAX_DIGIT_LIMBS.min(depth as usize + 1) {
        // Primes are not exactly the size asked for: a sketch slightly above the limit may still
        // fit.
        let near = |log_scale: &u32| sketch(*log_scale, digit_limbs).least_log_qp() <= limit + 1.0;
        'scales: for log_scale in (least..=most).rev().filter(near) {
            for wide in [true, false] {
                let params = sketch(log_scale, digit_limbs).build(options.secret, wide)?;
                if params.log_qp() <= limit {
                    result.push(params);
                    break 'scales;
                }
            }
        }
    }
    if result.is_empty() && scales == Scales::Preferred {
        let smallest = sketch(least, 1);
        considered.push(Considered {
            log_n,
            digit_limbs: 1,
            log_scale: least,
            log_qp: smallest.least_log_qp(),
            special_primes: smallest.special(),
            verdict: format!(
                "{depth} levels do not fit {max_log_qp} bits of modulus at {} bits of security",
                options.security
            ),
            ..Considered::default()
        });
    }
    Ok(result)
}

/// Levels that the largest ring holds at a typical scale, for messages.
pub fn max_levels(options: &ParamOptions) -> u32 {
    let log_scale = options.log_scale.unwrap_or(TYPICAL_LOG_SCALE);
    let limit = security::max_log_qp(options.max_log_n, options.secret, options.security.bits()).unwrap_or(0);
    let fits = |depth: &u32| {
        let sketch = Sketch {
            log_n: options.max_log_n,
            depth: *depth,
            log_scale,
            digit_limbs: 1,
            output_bits: options.output_bits,
        };
        sketch.least_log_qp() <= f64::from(limit)
    };
    (1..=limit).take_while(fits).last().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(log_n: u32, depth: u32, options: &ParamOptions) -> Vec<Params> {
        candidates(log_n, depth, Scales::Preferred, options, &mut Vec::new()).unwrap()
    }

    #[test]
    fn chains_keep_their_scale_and_their_promises() {
        for (log_n, depth) in [(13, 3), (14, 8), (15, 17), (16, 30)] {
            for security in [SecurityLevel::Bits98, SecurityLevel::Bits128] {
                let options = ParamOptions { security, ..ParamOptions::default() };
                let sets = all(log_n, depth, &options);
                assert!(!sets.is_empty(), "2^{log_n}, {depth} levels");
                for params in sets {
                    security::check(&params, security.bits()).unwrap();
                    assert_eq!(u32::from(params.top_level()), depth);
                    let log_scale = f64::from(params.literal().log_scale);
                    for level in 0..=params.top_level() {
                        let drift = params.canonical_scale(level).log2() - log_scale;
                        assert!(drift.abs() < 0.02, "{}: level {level} drifts {drift}", params.name());
                    }
                    assert!(params.q().iter().chain(params.p()).all(|&prime| prime < 1 << MAX_PRIME_BITS));
                    assert!(params.log_q(0) - log_scale >= f64::from(HEADROOM_BITS));
                    let log_p: f64 = params.p().iter().map(|&p| (p as f64).log2()).sum();
                    for digit in params.digits(params.top_level()) {
                        let digit: f64 = params.q()[digit].iter().map(|&q| (q as f64).log2()).sum();
                        assert!(digit <= log_p + 0.5, "{}", params.name());
                    }
                }
            }
        }
    }

    #[test]
    fn depth_limits_the_scale_and_in_the_end_the_ring() {
        let options = ParamOptions::default();
        let scale = |depth| {
            all(15, depth, &options).iter().map(|params| params.literal().log_scale).max().unwrap_or(0)
        };
        assert!(scale(14) > scale(22) && scale(22) > scale(28) && scale(40) == 0);
        let mut considered = Vec::new();
        assert!(candidates(15, 40, Scales::Preferred, &options, &mut considered).unwrap().is_empty());
        assert!(considered.iter().all(|c| c.verdict.contains("40 levels do not fit 868")));
        assert!((40..43).contains(&max_levels(&options)), "{}", max_levels(&options));
        let wrong = ParamOptions { log_scale: Some(60), ..options.clone() };
        assert!(matches!(
            candidates(15, 4, Scales::Preferred, &wrong, &mut considered),
            Err(ChooseParamsError::LogScale { log_scale: 60 })
        ));
    }

    #[test]
    fn a_fixed_scale_is_kept() {
        let options = ParamOptions { log_scale: Some(48), ..ParamOptions::default() };
        let sets = all(15, 10, &options);
        assert!(!sets.is_empty());
        for params in sets {
            assert_eq!(params.literal().log_scale, 48);
            // The base would be above 2^50: two primes.
            assert_eq!((params.limbs(0), params.limbs(1)), (2, 3));
        }
    }
}
