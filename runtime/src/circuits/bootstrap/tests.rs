//! Bootstraps of a toy ring with the chain of a real one, against the message and the clear reduction.

use std::f64::consts::PI;

use fhec_ir::bootstrap::{BootstrapParams, DftStep, Order};
use fhec_ir::params::{FixedScale, Params, ParamsLiteral, Secret};
use fhec_ir::polynomial::Polynomial;
use fhec_ir::prime::ntt_primes_near;
use fhec_ir::scale::Level;

use super::keys::{encapsulation_keys, key_requests};
use super::{Bootstrapper, SetupError};
use crate::circuits::mod_raise::EncapsulationKeys;
use crate::ckks::{Complex, Decryptor, Encoder, Encoding, Encryptor, Evaluator, FactorEncoder};
use crate::error::EvalError;
use crate::ring::{Context, Seed};
use crate::rlwe::{Ciphertext, EvaluationKeys, SecretKey};
use crate::testing::random_slots;

const LOG_N: u32 = 12;
const BOUND: u32 = 14;
const LEVELS: u32 = 3;
const LOG_SCALE: u32 = 40;
const LOG_Q0: u32 = 50;
const LOG_SINE: u32 = 49;

/// Interpolation at the Chebyshev nodes, the even or odd half.
fn interpolate(f: impl Fn(f64) -> f64, degree: usize, parity: usize) -> Polynomial {
    let count = degree + 1;
    let node = |i: usize| PI * (2 * i + 1) as f64 / (2 * count) as f64;
    let coefficients = (0..count).map(|k| {
        let sum: f64 = (0..count).map(|i| f(node(i).cos()) * (k as f64 * node(i)).cos()).sum();
        let scale = if k == 0 { 1.0 } else { 2.0 };
        if k % 2 == parity { scale * sum / count as f64 } else { 0.0 }
    });
    Polynomial::chebyshev(coefficients.collect(), [-1.0, 1.0]).unwrap()
}

fn bootstrap(log_slots: u32, arcsine: bool, ephemeral: bool) -> BootstrapParams {
    let width = f64::from(BOUND) - 0.5;
    let step = |butterflies, baby_steps| DftStep { butterflies, baby_steps };
    let third = log_slots / 3;
    BootstrapParams {
        log_slots,
        order: Order::SlotsToCoeffsFirst,
        ephemeral_weight: ephemeral.then_some(32),
        bound: BOUND,
        cosine: interpolate(|t| (2.0 * PI * width * t / 8.0).cos(), 30, 0),
        double_angles: 3,
        // Near zero, so a Taylor polynomial will do.
        arcsine: arcsine.then(|| interpolate(|y| y + y.powi(3) / 6.0, 3, 1)),
        coeffs_to_slots: vec![step(third, 4), step(third, 4), step(log_slots - 2 * third, 8)],
        slots_to_coeffs: vec![step(log_slots / 2, 4), step(log_slots - log_slots / 2, 8)],
        output_level: 2 + LEVELS as Level,
    }
}

fn params(bootstrap: &BootstrapParams, log_ratio: u32, secret: Secret) -> Params {
    let mut primes = ntt_primes_near(1 << LOG_SINE, LOG_N).filter(|&q| q < 1 << 50);
    let mut take = |count: usize| -> Vec<u64> { primes.by_ref().take(count).collect() };
    let sine = take(usize::from(bootstrap.sine_depth()));
    let (transform, special) = (take(3), take(4));
    let mut small = ntt_primes_near(1 << LOG_SCALE, LOG_N);
    let mut take = |count: usize| -> Vec<u64> { small.by_ref().take(count).collect() };
    let (application, bottom) = (take(LEVELS as usize), take(2));
    let q0: Vec<u64> = ntt_primes_near(1 << LOG_Q0, LOG_N).filter(|&q| q > 1 << 50).take(1).collect();
    let q = [q0, bottom, application, sine, transform].concat();
    let (input, top) = (bootstrap.sine_input_level(), bootstrap.raised_level());
    let mut fixed: Vec<FixedScale> =
        (input..top).rev().map(|level| FixedScale { level, log_scale: LOG_SINE }).collect();
    fixed.push(FixedScale { level: bootstrap.output_level, log_scale: LOG_SCALE });
    fixed.extend([1, 0].map(|level| FixedScale { level, log_scale: LOG_Q0 - log_ratio }));
    let literal = ParamsLiteral {
        name: "toy-n12-bootstrap".into(),
        log_n: LOG_N,
        level_limbs: (1..=q.len()).collect(),
        q,
        p: special,
        digit_limbs: 4,
        log_scale: LOG_SINE,
        secret,
    };
    Params::segmented(literal, fixed).unwrap()
}

struct Rig {
    context: Context,
    secret: SecretKey,
    keys: EvaluationKeys,
    encapsulation: Option<EncapsulationKeys>,
    bootstrapper: Bootstrapper,
}

impl Rig {
    fn new(bootstrap: BootstrapParams, log_ratio: u32, secret: Secret) -> Self {
        let context = Context::new(params(&bootstrap, log_ratio, secret)).unwrap();
        let seed = Seed::from_bytes([17; 32]);
        let secret = SecretKey::generate(&context, &seed);
        let requests = key_requests(&context, &bootstrap);
        let keys = EvaluationKeys::generate(&context, &secret, &seed, &requests).unwrap();
        let encapsulation = encapsulation_keys(&context, &secret, &bootstrap, &seed).unwrap();
        let bootstrapper = Bootstrapper::new(bootstrap, &FactorEncoder::new(&context)).unwrap();
        Rig { context, secret, keys, encapsulation, bootstrapper }
    }

    fn evaluator(&self) -> Evaluator<'_> {
        Evaluator::new(&self.context, &self.keys)
    }

    fn encrypt(&self, values: &[Complex], level: Level) -> Ciphertext {
        let plaintext = Encoder::new(&self.context).encode_complex(values, Encoding::message(level)).unwrap();
        Encryptor::with_secret_key(&self.context, &self.secret, Seed::from_bytes([19; 32]))
            .encrypt(&plaintext)
            .unwrap()
    }

    fn decrypt(&self, a: &Ciphertext) -> Vec<Complex> {
        let plaintext = Decryptor::new(&self.context, &self.secret).decrypt(a).unwrap();
        Encoder::new(&self.context).decode_complex(&plaintext).unwrap()
    }

    fn bootstrap(&self, a: &Ciphertext, level: Level) -> Result<Ciphertext, EvalError> {
        self.bootstrapper.bootstrap(&self.evaluator(), self.encapsulation.as_ref(), a, level)
    }
}

fn reals(slots: usize, label: u64) -> Vec<Complex> {
    random_slots(slots, label).iter().map(|z| Complex::new(z.re, 0.0)).collect()
}

fn worst(found: &[Complex], expected: impl Fn(usize) -> f64) -> f64 {
    found.iter().enumerate().fold(0.0, |max, (i, z)| max.max((z.re - expected(i)).abs()).max(z.im.abs()))
}

/// What the sine makes of a message: the only error that is not noise.
fn sine(m: f64, log_ratio: u32) -> f64 {
    let angle = 2.0 * PI * 0.5f64.powi(log_ratio as i32);
    (angle * m).sin() / angle
}

#[test]
fn a_message_comes_back_with_its_levels() {
    let (slots, ratio) = (1 << (LOG_N - 1), 10);
    let rig = Rig::new(bootstrap(LOG_N - 1, false, true), ratio, Secret::UniformTernary);
    // An imaginary part is dropped, not mixed in.
    let message = random_slots(slots, 3);
    let input = rig.bootstrapper.bootstrap_params().input_level();
    let result = rig.bootstrap(&rig.encrypt(&message, input), 5).unwrap();
    assert_eq!((result.level(), result.slots()), (5, slots));
    let found = rig.decrypt(&result);
    let error = worst(&found, |i| sine(message[i].re, ratio));
    eprintln!(
        "2^{:.1} against the sine, 2^{:.1} against the message",
        error.log2(),
        worst(&found, |i| message[i].re).log2()
    );
    assert!(error < 2f64.powi(-17), "2^{:.1}", error.log2());
}
