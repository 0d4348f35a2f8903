//! How large the errors of an encrypted run are: variances per operation, from the definitions.
//!
//! An error polynomial with independent coefficients of variance `v` has in every slot an error
//! whose real part has variance `N v / 2` (the slot is `sum_j e_j zeta^(..)`, and the squared
//! cosines sum to N/2), divided by the squared scale. Messages of fewer slots `n` are read from a
//! subring, `2n` of the coefficients: `n v`. So everywhere `n v / scale^2`.
//!
//! | operation | coefficient variance | from |
//! |---|---|---|
//! | encoding | `1/12` | rounding to integers |
//! | encryption, secret key | `s^2` | one Gaussian, `s = 3.2` |
//! | encryption, public key | `s^2 (1 + h + 2N/3)` | `e_0 + e_1 s + e u`, mask `u` ternary |
//! | division with rounding | `(1 + h) / 12` | `r_0 + r_1 s`, remainders uniform in `[-1/2, 1/2]` |
//! | the same of size 3 | `(1 + h + 2 h^2) / 12` | `r_2 s^2` too; a slot of `s` is nearly Gaussian, so `E|s|^4 = 2 h^2` |
//! | key switch, before division | `sum_d N s^2 (Q_d / P)^2 / 12` | digits uniform in `[-Q_d/2, Q_d/2]` times Gaussians |
//!
//! with `h = E |s|_2^2`, `2N/3` or the Hamming weight. (Costache, Curtis, Hales, Murphy, Ogilvie,
//! Player, *On the precision loss in approximate homomorphic encryption*, ePrint 2022/162, derive
//! the first four; the last is Han and Ki, ePrint 2019/688, section 3, with the centred digits of
//! the runtime's key switch.)
//!
//! What needs more than one operation: [`polynomial`], [`bootstrap`].

pub mod bootstrap;
pub mod polynomial;

use crate::params::{ERROR_STDDEV, Params, Secret};
use crate::prime_set::{Exchange, PrimeSet};
use crate::scale::{Level, Scale};

pub(crate) const GAUSSIAN: f64 = ERROR_STDDEV * ERROR_STDDEV;
pub(crate) const ROUNDING: f64 = 1.0 / 12.0;

/// How an input was encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncryptionKind {
    /// Under the public key.
    PublicKey,
    /// Under the secret key.
    SecretKey,
}

/// Variances of the real parts of slot errors, in units of the squared message.
#[derive(Clone, Copy, Debug)]
pub struct NoiseModel<'a> {
    params: &'a Params,
    slots: f64,
    /// What ciphertexts have instead of primes of their level.
    exchange: Exchange,
}

impl<'a> NoiseModel<'a> {
    /// For messages of `slots` slots.
    pub fn new(params: &'a Params, slots: usize) -> Self {
        NoiseModel { params, slots: slots as f64, exchange: Exchange::default() }
    }

    /// The same where ciphertexts lack primes of their levels: digits of key switches are smaller,
    /// or none.
    pub fn exchanged(self, exchange: Exchange) -> Self {
        NoiseModel { exchange, ..self }
    }

    /// The parameters.
    pub fn params(&self) -> &'a Params {
        self.params
    }

    /// The value of a scale.
    pub fn scale(&self, scale: Scale) -> f64 {
        self.params.scale(scale).to_f64()
    }

    fn slot(&self, coefficient_variance: f64, scale: f64) -> f64 {
        self.slots * coefficient_variance / (scale * scale)
    }

    /// Mean squared norm of the secret.
    pub(crate) fn secret_norm(&self) -> f64 {
        match self.params.secret() {
            Secret::UniformTernary => self.params.ring_degree() as f64 * 2.0 / 3.0,
            Secret::SparseTernary { hamming_weight } => f64::from(hamming_weight),
        }
    }

    /// Rounding of an encoded message.
    pub fn encoding(&self, scale: f64) -> f64 {
        self.slot(ROUNDING, scale)
    }

    /// Rounding of an encoded message that repeats every `period` slots: only `2 period`
    /// coefficients are not zero.
    pub fn encoding_of_period(&self, period: usize, scale: f64) -> f64 {
        self.encoding(scale) * period as f64 / self.slots
    }

    /// A fresh encryption, encoding not included.
    pub fn encryption(&self, kind: EncryptionKind, scale: f64) -> f64 {
        match kind {
            EncryptionKind::PublicKey => self.public_key_encryption(scale),
            EncryptionKind::SecretKey => self.secret_key_encryption(scale),
        }
    }

    /// A secret-key encryption, encoding not included.
    pub fn secret_key_encryption(&self, scale: f64) -> f64 {
        self.slot(GAUSSIAN, scale)
    }

    /// A public-key encryption, encoding not included.
    pub fn public_key_encryption(&self, scale: f64) -> f64 {
        let mask = self.params.ring_degree() as f64 * 2.0 / 3.0;
        self.slot(GAUSSIAN * (1.0 + self.secret_norm() + mask), scale)
    }

    /// A division with rounding of a ciphertext of `size` polynomials; `scale` is that of the
    /// quotient.
    pub fn division(&self, size: u8, scale: f64) -> f64 {
        let h = self.secret_norm();
        let third = if size > 2 { 2.0 * h * h } else { 0.0 };
        self.slot(ROUNDING * (1.0 + h + third), scale)
    }

    /// The inner product of a key switch at `level`, divided by `P` without rounding.
    pub fn key_switch_product(&self, level: Level, scale: f64) -> f64 {
        let params = self.params;
        let log2 = |primes: &[u64]| primes.iter().map(|&q| (q as f64).log2()).sum::<f64>();
        let primes = self.exchange.of(params.primes(level));
        let digits = params.digits(level).into_iter().map(|digit| primes.within(PrimeSet::range(digit)));
        let digits = digits.filter(|digit| !digit.is_empty()).map(|digit| {
            let ratio = (params.log_modulus(digit) - log2(params.p())).exp2();
            params.ring_degree() as f64 * GAUSSIAN * ratio * ratio * ROUNDING
        });
        self.slot(digits.sum(), scale)
    }

    /// A key switch at `level`.
    pub fn key_switch(&self, level: Level, scale: f64) -> f64 {
        self.key_switch_product(level, scale) + self.division(2, scale)
    }
}
