//! Parameter sets, keys and derived error bounds for unit tests.

use std::sync::Arc;

use fhec_ir::params::{Params, ParamsLiteral, Secret};
use fhec_ir::prime::ntt_primes_near;
use fhec_ir::prime_set::PrimeSet;
use fhec_ir::scale::Level;
use rand_core::Rng;

use crate::ckks::{Complex, Decryptor, Encoder, Encoding, Encryptor, Evaluator};
use crate::ring::{Context, Seed};
use crate::rlwe::{Ciphertext, EvaluationKeys, KeyRequest, SecretKey};

/// One prime per level near `2^log_scale` above a bottom prime of 50 bits, `special` primes of 50
/// bits, digits of `special` primes.
pub(crate) fn literal(log_n: u32, limbs: usize, special: usize, log_scale: u32) -> ParamsLiteral {
    let mut large = ntt_primes_near((1 << 50) - 1, log_n).filter(|&q| q < 1 << 50);
    let bottom = large.next().into_iter();
    let p: Vec<u64> = large.take(special).collect();
    let chain = ntt_primes_near(1 << log_scale, log_n).filter(|q| *q < 1 << 50 && !p.contains(q));
    let mut q: Vec<u64> = bottom.collect();
    q.extend(chain.filter(|x| *x != q[0]).take(limbs - 1).collect::<Vec<_>>());
    ParamsLiteral {
        name: format!("test-n{log_n}-{limbs}+{special}"),
        log_n,
        levels: PrimeSet::prefixes(1..=limbs),
        q,
        p,
        digit_limbs: special,
        log_scale,
        secret: Secret::UniformTernary,
    }
}

/// See [`literal`]; scale `2^45`.
pub(crate) fn context(log_n: u32, limbs: usize, special: usize) -> Arc<Context> {
    Arc::new(Context::new(Params::new(literal(log_n, limbs, special, 45)).unwrap()).unwrap())
}

/// Primes of 25, 50, 51, 60 and 61 bits, some levels of two primes, digits of two.
pub(crate) fn mixed_literal(log_n: u32) -> ParamsLiteral {
    let mut fifty = ntt_primes_near(1 << 50, log_n);
    let mut half = ntt_primes_near(1 << 25, log_n);
    let sixty = ntt_primes_near((1 << 60) - 1, log_n).next().unwrap();
    let p: Vec<u64> =
        ntt_primes_near((1 << 61) - (1 << 50), log_n).filter(|&q| q > 1 << 60).take(2).collect();
    let mut take = |wide: bool| if wide { fifty.next().unwrap() } else { half.next().unwrap() };
    let q = [true, true, false, false, true, false, false, true].map(&mut take);
    ParamsLiteral {
        name: format!("test-mixed-n{log_n}"),
        log_n,
        q: [sixty].into_iter().chain(q).collect(),
        levels: PrimeSet::prefixes([1, 2, 3, 5, 6, 8, 9]),
        p,
        digit_limbs: 2,
        log_scale: 50,
        secret: Secret::UniformTernary,
    }
}

/// See [`mixed_literal`].
pub(crate) fn mixed_context(log_n: u32) -> Arc<Context> {
    Arc::new(Context::new(Params::new(mixed_literal(log_n)).unwrap()).unwrap())
}

/// Three levels of 30 bits in two primes of 45: levels that lack primes of those below.
pub(crate) fn packed_literal(log_n: u32) -> ParamsLiteral {
    let near = |bits: u32, count: usize| -> Vec<u64> {
        ntt_primes_near(1 << bits, log_n).filter(|&q| q < 1 << 50).take(count).collect()
    };
    let q = [near(49, 1), near(30, 2), near(45, 4)].concat();
    ParamsLiteral {
        name: format!("test-packed-n{log_n}"),
        log_n,
        levels: packed_levels(PrimeSet::first(1), 1, 8),
        q,
        p: ntt_primes_near((1 << 50) - 1, log_n).filter(|&q| q < 1 << 50).take(3).collect(),
        digit_limbs: 3,
        log_scale: 30,
        secret: Secret::UniformTernary,
    }
}

/// `below`, then `count` levels above it of which three have two wide primes, and one or two more
/// as many narrow ones. The narrow primes are those from `first` on, wide ones follow.
pub(crate) fn packed_levels(below: PrimeSet, first: usize, count: usize) -> Vec<PrimeSet> {
    let level = |level: usize| {
        let narrow = PrimeSet::range(first..first + level % 3);
        below.with(narrow).with(PrimeSet::range(first + 2..first + 2 + level / 3 * 2))
    };
    (0..=count).map(level).collect()
}

pub(crate) mod bootstrap;
pub(crate) mod noise;

/// Complex numbers with both parts uniform in [-1, 1]: `E|z|^2 = 2/3`.
pub(crate) fn random_slots(slots: usize, label: u64) -> Vec<Complex> {
    let mut rng = Seed::from_bytes([5; 32]).child("slots", label).rng();
    let mut part = || (rng.next_u64() >> 11) as f64 / 2f64.powi(52) - 1.0;
    (0..slots).map(|_| Complex::new(part(), part())).collect()
}

/// A context with a secret key, evaluation keys and an encoder's inputs.
pub(crate) struct Fixture {
    pub(crate) context: Arc<Context>,
    pub(crate) secret: Arc<SecretKey>,
    pub(crate) keys: EvaluationKeys,
}

impl Fixture {
    /// Keys for products, conjugation and rotations by `steps`, at every level.
    pub(crate) fn new(literal: ParamsLiteral, steps: &[i64]) -> Self {
        Self::with_params(Params::new(literal).unwrap(), steps)
    }

    /// [`Self::new`] of a validated parameter set.
    pub(crate) fn with_params(params: Params, steps: &[i64]) -> Self {
        let context = Arc::new(Context::new(params).unwrap());
        let seed = Seed::from_bytes([11; 32]);
        let secret = Arc::new(SecretKey::generate(&context, &seed));
        let top = context.params().top_level();
        let mut requests = vec![KeyRequest::relinearization(top), KeyRequest::conjugation(&context, top)];
        requests.extend(steps.iter().map(|&k| KeyRequest::rotation(&context, k, top)));
        let keys = EvaluationKeys::generate(&context, &secret, &seed, &requests).unwrap();
        Fixture { context, secret, keys }
    }

    pub(crate) fn evaluator(&self) -> Evaluator<'_> {
        Evaluator::new(&self.context, &self.keys)
    }

    /// A secret-key encryption at `level`.
    pub(crate) fn encrypt(&self, values: &[Complex], level: Level) -> Ciphertext {
        let plaintext = Encoder::new(&self.context).encode_complex(values, Encoding::message(level)).unwrap();
        let seed = Seed::from_bytes([13; 32]).child("encrypt", values[0].re.to_bits());
        Encryptor::with_secret_key(&self.context, &self.secret, seed).encrypt(&plaintext).unwrap()
    }

    pub(crate) fn decrypt(&self, ciphertext: &Ciphertext) -> Vec<Complex> {
        let plaintext = Decryptor::new(&self.context, &self.secret).decrypt(ciphertext).unwrap();
        Encoder::new(&self.context).decode_complex(&plaintext).unwrap()
    }
}
