//! Error variances derived from the definitions, to compare measured errors with.
//!
//! A variance here is `E|error|^2` of a slot, in units of the message. An error polynomial with
//! independent coefficients of variance `v` has slots of variance `N v / scale^2`.

use fhec_ir::params::{ERROR_STDDEV, Secret};
use fhec_ir::prime_set::PrimeSet;
use fhec_ir::scale::{Level, Scale};

use crate::ckks::Complex;
use crate::ring::Context;

const GAUSSIAN: f64 = ERROR_STDDEV * ERROR_STDDEV;

fn slots(context: &Context, coefficient_variance: f64, scale: Scale) -> f64 {
    let scale = context.params().scale(scale).to_f64();
    context.ring_degree() as f64 * coefficient_variance / (scale * scale)
}

/// Mean squared norm of the secret.
fn secret_norm(context: &Context) -> f64 {
    match context.params().secret() {
        Secret::UniformTernary => context.ring_degree() as f64 * 2.0 / 3.0,
        Secret::SparseTernary { hamming_weight } => f64::from(hamming_weight),
    }
}

/// Rounding to integers when encoding.
pub(crate) fn encoding(context: &Context, scale: Scale) -> f64 {
    slots(context, 1.0 / 12.0, scale)
}

/// Secret-key encryption: one Gaussian.
pub(crate) fn secret_key_encryption(context: &Context, scale: Scale) -> f64 {
    slots(context, GAUSSIAN, scale)
}

/// Public-key encryption: `e_0 + e_1 s + e u` with a ternary mask `u`.
pub(crate) fn public_key_encryption(context: &Context, scale: Scale) -> f64 {
    let mask = context.ring_degree() as f64 * 2.0 / 3.0;
    slots(context, GAUSSIAN * (1.0 + secret_norm(context) + mask), scale)
}

/// A division with rounding of both polynomials: `r_0 + r_1 s`, uniform in [-1/2, 1/2].
pub(crate) fn division(context: &Context, scale: Scale) -> f64 {
    slots(context, (1.0 + secret_norm(context)) / 12.0, scale)
}

/// A division of size 3: adds `r_2 s^2`. A slot of `s` is nearly Gaussian, so `E|s|^4 = 2
/// (E|s|^2)^2`.
pub(crate) fn division_of_three(context: &Context, scale: Scale) -> f64 {
    let h = secret_norm(context);
    slots(context, (1.0 + h + 2.0 * h * h) / 12.0, scale)
}

/// The inner product of a key switch, divided by P: per digit, N products of a digit uniform in
/// `[-Q_d / 2, Q_d / 2]` with a Gaussian. Without the rounding of the division.
pub(crate) fn key_switch_product(context: &Context, level: Level, scale: Scale) -> f64 {
    let log2 = |primes: &[u64]| primes.iter().map(|&q| (q as f64).log2()).sum::<f64>();
    let params = context.params();
    let primes = params.primes(level);
    let digits = params.digits(level).into_iter().map(|digit| primes.within(PrimeSet::range(digit)));
    let digits = digits.filter(|digit| !digit.is_empty()).map(|digit| {
        let ratio = (params.log_modulus(digit) - log2(params.p())).exp2();
        context.ring_degree() as f64 * GAUSSIAN * ratio * ratio / 12.0
    });
    slots(context, digits.sum(), scale)
}

/// A whole key switch.
pub(crate) fn key_switch(context: &Context, level: Level, scale: Scale) -> f64 {
    key_switch_product(context, level, scale) + division(context, scale)
}

/// Asserts that errors are as large as derived: their mean square within `[0.7, 1.4]` of the
/// variance, and the worst slot within 21 deviations. A slot of `e s` is a product of two nearly
/// Gaussian numbers `x y`, whose tail is `P(|x y| > t deviations) = 2 t K_1(2t) < sqrt(pi t)
/// e^(-2t) (1 + 1/t)`: below 2^-57 per slot at 21, 2^-41 for 2^16 slots.
#[track_caller]
pub(crate) fn assert_errors(what: &str, found: &[Complex], expected: &[Complex], variance: f64) {
    assert_errors_below(what, found, expected, variance, 21.0);
}

/// [`assert_errors`] with a worst slot of `deviations`.
#[track_caller]
pub(crate) fn assert_errors_below(
    what: &str,
    found: &[Complex],
    expected: &[Complex],
    variance: f64,
    deviations: f64,
) {
    assert_eq!(found.len(), expected.len());
    let errors: Vec<f64> =
        found.iter().zip(expected).map(|(a, b)| (a.re - b.re).hypot(a.im - b.im)).collect();
    let mean = errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64;
    let max = errors.iter().fold(0f64, |a, &b| a.max(b));
    let bits = |x: f64| -x.log2();
    let report = format!(
        "{what}: {:.2} bits measured, {:.2} derived, worst slot {:.2}",
        bits(mean.sqrt()),
        bits(variance.sqrt()),
        bits(max)
    );
    assert!((0.7..1.4).contains(&(mean / variance)), "{report}");
    assert!(max <= deviations * variance.sqrt(), "{report}");
}
