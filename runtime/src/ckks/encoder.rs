//! Slots to plaintexts and back.
//!
//! *Error* of encoding and decoding a message `m` at scale `S` with `n` slots, worst case over
//! slots: rounding moves every one of the `2n` coefficients by at most 1/2, hence a slot by at most
//! `n / S` (typically `sqrt(n / 6) / S`); double precision adds at most `2 u sqrt(n) (5 log2(n) +
//! 4) max|m|`, `u = 2^-53`, both directions together ([`super::special_fft`]; 4 for the scaling and
//! the conversion). [`Encoder::error_bound`] is this sum.

use std::sync::Arc;

use fhec_ir::scale::{Level, Scale};

use super::plaintext::{Complex, Form, Plaintext};
use super::special_fft::SpecialFft;
use crate::error::EvalError;
use crate::kernels::{self, Modulus};
use crate::names::PlaintextScale;
use crate::ring::{Context, Domain, Poly, Work};

/// How a message is to be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    /// The highest level it will be used at.
    pub level: Level,
    /// Its scale.
    pub scale: PlaintextScale,
    /// With the special primes, for products with an extended ciphertext.
    pub special: bool,
    /// Form of the residues.
    pub form: Form,
}

impl Encoding {
    /// A message to encrypt at `level`, or to add to a canonical value there.
    pub const fn message(level: Level) -> Self {
        let scale = PlaintextScale::Named(Scale::canonical(level));
        Encoding { level, scale, special: false, form: Form::Residues }
    }

    /// A summand at another scale.
    pub const fn summand(level: Level, scale: Scale) -> Self {
        Encoding { level, scale: PlaintextScale::Named(scale), special: false, form: Form::Residues }
    }

    /// A factor for canonical values at `level`; the product rescales to the canonical scale of the
    /// level below.
    pub const fn factor(level: Level) -> Self {
        Self::factor_between(level, Scale::canonical(level), Scale::squared(level))
    }

    /// A factor at `level` that carries scale `from` to scale `to`.
    pub const fn factor_between(level: Level, from: Scale, to: Scale) -> Self {
        let scale = PlaintextScale::Ratio { from, to };
        Encoding { level, scale, special: false, form: Form::Montgomery }
    }

    /// The same over the extended basis.
    pub const fn extended(self) -> Self {
        Encoding { special: true, ..self }
    }
}

/// Integers are passed on as residues of this prime, `2^61 - 1`, when they are below `2^59` in
/// size.
const CARRIER: u64 = (1 << 61) - 1;
const CARRIER_BITS: i32 = 59;

/// Coefficients of an encoded message before they are rounded, `2 slots` of them: first half and
/// second half.
pub(super) struct Coefficients {
    re: Vec<f64>,
    im: Vec<f64>,
    exponent: i32,
}

impl Coefficients {
    /// Rounds to multiples of [`Coefficients::unit`], and writes how many they are as residues of
    /// the carrier prime, in steps of `out.len() / (2 slots)`, zeros between.
    pub(super) fn write(&self, out: &mut [u64]) {
        out.fill(0);
        let down = 2f64.powi(-self.exponent);
        let gap = out.len() / (2 * self.re.len());
        let half = out.len() / 2;
        for (half, part) in out.chunks_exact_mut(half).zip([&self.re, &self.im]) {
            for (x, &value) in half.iter_mut().step_by(gap).zip(part) {
                let integer = (value * down).round() as i64;
                *x = if integer < 0 { CARRIER.wrapping_add_signed(integer) } else { integer as u64 };
            }
        }
    }

    /// The same integers, as the coefficients of a polynomial of degree below `degree`.
    pub(super) fn integers(&self, degree: usize) -> Vec<i64> {
        let down = 2f64.powi(-self.exponent);
        let gap = degree / (2 * self.re.len());
        let mut out = vec![0; degree];
        for (half, part) in out.chunks_exact_mut(degree / 2).zip([&self.re, &self.im]) {
            for (x, &value) in half.iter_mut().step_by(gap).zip(part) {
                *x = (value * down).round() as i64;
            }
        }
        out
    }

    /// `log2` of [`Coefficients::unit`].
    pub(super) fn exponent(&self) -> i32 {
        self.exponent
    }

    /// The power of two that the written integers are to be multiplied with.
    pub(super) fn unit(&self, modulus: &Modulus) -> u64 {
        modulus.pow(modulus.reduce(2), self.exponent as u64)
    }
}

/// Encoder and decoder of one context. Clones share its tables.
#[derive(Clone, Debug)]
pub struct Encoder {
    context: Arc<Context>,
    fft: Arc<SpecialFft>,
    carrier: Modulus,
}

impl Encoder {
    /// Makes the tables of the embedding.
    pub fn new(context: &Arc<Context>) -> Self {
        let carrier = Modulus::new(CARRIER).expect("2^61 - 1 is a prime below 2^61");
        let fft = Arc::new(SpecialFft::new(context.params().slots()));
        Encoder { context: Arc::clone(context), fft, carrier }
    }

    /// The context it belongs to.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Encodes real numbers, one per slot. Their number is a power of two up to N/2; fewer than N/2
    /// are repeated.
    pub fn encode(&self, values: &[f64], encoding: Encoding) -> Result<Plaintext, EvalError> {
        self.encode_parts(values.to_vec(), vec![0.0; values.len()], encoding)
    }

    /// Encodes complex numbers, one per slot. Their number is a power of two up to N/2; fewer than
    /// N/2 are repeated.
    pub fn encode_complex(&self, values: &[Complex], encoding: Encoding) -> Result<Plaintext, EvalError> {
        let (re, im) = values.iter().map(|z| (z.re, z.im)).unzip();
        self.encode_parts(re, im, encoding)
    }

    pub(super) fn encode_parts(
        &self,
        re: Vec<f64>,
        im: Vec<f64>,
        encoding: Encoding,
    ) -> Result<Plaintext, EvalError> {
        let slots = re.len();
        let Encoding { level, scale, special, form } = encoding;
        let coefficients = self.coefficients(re, im, level, scale)?;
        let context = &self.context;
        let isa = context.isa();
        let basis = if special { context.extended_basis(level) } else { context.basis(level) };
        let mut carried = context.scratch(1);
        coefficients.write(&mut carried);
        let mut poly = Poly::arbitrary(context, basis, Domain::Evaluation);
        context.each_limb(Work::Heavy, [poly.data_mut()], |limb, [x]| {
            let prime = context.prime(basis, limb);
            let modulus = context.modulus(prime);
            kernels::reduce_into(isa, x, &carried, &self.carrier, modulus);
            context.transform(prime).forward(isa, x);
            let mut factor = coefficients.unit(modulus);
            if form == Form::Montgomery {
                factor = modulus.to_montgomery(factor);
            }
            if factor != 1 {
                kernels::mul_scalar_assign(isa, x, factor, modulus);
            }
        });
        Ok(Plaintext { poly, form, level, scale, slots })
    }

    /// Slots to coefficients at `scale`, checked against the modulus of `level`.
    pub(super) fn coefficients(
        &self,
        mut re: Vec<f64>,
        mut im: Vec<f64>,
        level: Level,
        scale: PlaintextScale,
    ) -> Result<Coefficients, EvalError> {
        let (params, slots) = (self.context.params(), re.len());
        if !slots.is_power_of_two() || slots > params.slots() {
            return Err(EvalError::SlotCount { found: slots, max: params.slots() });
        }
        if level > params.top_level() {
            return Err(EvalError::LevelTooHigh { op: "encode", top: params.top_level(), found: level });
        }
        if let Some(slot) = (0..slots).find(|&j| !(re[j].is_finite() && im[j].is_finite())) {
            let value = if re[slot].is_finite() { im[slot] } else { re[slot] };
            return Err(EvalError::NotFinite { slot, value });
        }
        self.fft.inverse_unscaled(&mut re, &mut im);
        let factor = scale.exact(params).to_f64() / slots as f64;
        re.iter_mut().chain(&mut im).for_each(|x| *x *= factor);
        let largest = re.iter().chain(&im).fold(0.0, |max: f64, x| max.max(x.abs()));
        let available = params.log_q(level) - 1.0;
        if largest.log2() >= available {
            return Err(EvalError::MessageTooLarge { needed: largest.log2(), available, level });
        }
        // Above 2^59 the integers are multiples of 2^shift; a double has no more than 53 bits
        // anyway.
        let exponent =
            if largest < 2f64.powi(CARRIER_BITS) { 0 } else { largest.log2() as i32 + 1 - CARRIER_BITS };
        Ok(Coefficients { re, im, exponent })
    }

    /// The prime whose residues [`Coefficients::write`] leaves.
    pub(super) fn carrier(&self) -> &Modulus {
        &self.carrier
    }

    /// The message of a plaintext with plain residues, one complex number per slot.
    ///
    /// With fewer slots than N/2 the repeated copies are averaged, which removes noise between
    /// them.
    pub fn decode_complex(&self, plaintext: &Plaintext) -> Result<Vec<Complex>, EvalError> {
        if plaintext.form != Form::Residues || plaintext.poly.basis().special > 0 {
            return Err(EvalError::PlaintextForm {
                op: "decode",
                expected: "of plain residues over the chain",
            });
        }
        let slots = plaintext.slots;
        let mut poly = plaintext.poly.clone();
        let scale = plaintext.scale.exact(self.context.params()).to_f64();
        poly.to_coefficients(&self.context);
        let coefficients = self.context.centred_coefficients(&poly, self.context.params().slots() / slots);
        let (mut re, mut im): (Vec<f64>, Vec<f64>) =
            (0..slots).map(|k| (coefficients[k] / scale, coefficients[k + slots] / scale)).unzip();
        self.fft.forward(&mut re, &mut im);
        Ok(re.into_iter().zip(im).map(|(re, im)| Complex { re, im }).collect())
    }

    /// The real parts of the message of a plaintext with plain residues.
    pub fn decode(&self, plaintext: &Plaintext) -> Result<Vec<f64>, EvalError> {
        Ok(self.decode_complex(plaintext)?.into_iter().map(|z| z.re).collect())
    }

    /// Bound of the error per slot of encoding and decoding a message of size `max_abs`; see the
    /// module.
    pub fn error_bound(&self, slots: usize, scale: PlaintextScale, max_abs: f64) -> f64 {
        let n = slots as f64;
        let rounding = n / scale.exact(self.context.params()).to_f64();
        rounding + 2.0 * f64::EPSILON / 2.0 * n.sqrt() * (5.0 * n.log2() + 4.0) * max_abs
    }
}

#[cfg(test)]
mod tests {
    use num_bigint::BigInt;

    use super::*;
    use crate::testing::{context, mixed_context, random_slots};

    /// Fractional bits of the reference's fixed-point numbers.
    const FRACTION: u32 = 160;

    /// `e^(i pi k / N)` for `k < 2N` in fixed point: square roots of unity are halved `log2 N`
    /// times, `cos(x/2) = sqrt((1 + cos x) / 2)`, then multiplied up. Errors stay below `2^-140`.
    fn roots(degree: usize) -> Vec<(BigInt, BigInt)> {
        let one = BigInt::from(1) << FRACTION;
        let half_angle = |cos: &BigInt| ((&one + cos) << (FRACTION - 1)).sqrt();
        let sine = |cos: &BigInt| ((&one * &one) - cos * cos).sqrt();
        // From cos(pi) = -1 down to cos(pi / N).
        let cos = (0..degree.trailing_zeros()).fold(-one.clone(), |cos, _| half_angle(&cos));
        let (c, s) = (cos.clone(), sine(&cos));
        let mut powers = vec![(one.clone(), BigInt::ZERO)];
        for k in 1..2 * degree {
            let (x, y) = &powers[k - 1];
            powers.push(((x * &c - y * &s) >> FRACTION, (x * &s + y * &c) >> FRACTION));
        }
        powers
    }

    /// The polynomial of a plaintext at the point of a slot, by the definition, in units of the
    /// scale.
    fn evaluate(roots: &[(BigInt, BigInt)], coefficients: &[f64], slot: usize, scale: f64) -> Complex {
        let mask = roots.len() - 1;
        let g = (0..slot).fold(1usize, |g, _| (g * 5) & mask);
        let (mut re, mut im) = (BigInt::ZERO, BigInt::ZERO);
        for (k, &c) in coefficients.iter().enumerate().filter(|(_, c)| **c != 0.0) {
            let (x, y) = &roots[(g * k) & mask];
            re += x * (c as i64);
            im += y * (c as i64);
        }
        // Drop what a double cannot hold, then divide.
        let value = |x: BigInt| i128::try_from(x >> (FRACTION - 40)).unwrap() as f64 / 2f64.powi(40) / scale;
        Complex::new(value(re), value(im))
    }

    #[test]
    fn encoding_evaluates_to_the_message_within_the_bound() {
        for context in [context(11, 4, 2), mixed_context(11)] {
            let encoder = Encoder::new(&context);
            let roots = roots(context.ring_degree());
            for (slots, size) in [(1024, 1.0), (1024, 30.0), (64, 1.0), (1, 1.0)] {
                let z: Vec<Complex> =
                    random_slots(slots, 3).iter().map(|z| Complex::new(z.re * size, z.im * size)).collect();
                let encoding = Encoding::message(2);
                let plaintext = encoder.encode_complex(&z, encoding).unwrap();
                let mut poly = plaintext.poly().clone();
                poly.to_coefficients(&context);
                // Below 2^53: exact as doubles.
                let coefficients = context.centred_coefficients(&poly, 1);
                assert!(coefficients.iter().all(|c| c.abs() < 2f64.powi(53)));
                let scale = encoding.scale.exact(context.params()).to_f64();
                let bound = encoder.error_bound(slots, encoding.scale, 1.5 * size);
                let decoded = encoder.decode_complex(&plaintext).unwrap();
                for j in (0..slots).step_by(slots.div_ceil(64)).chain([context.params().slots() - 1]) {
                    let exact = evaluate(&roots, &coefficients, j, scale);
                    let z = z[j % slots];
                    assert!(
                        (exact.re - z.re).hypot(exact.im - z.im) <= bound,
                        "{slots} slots: slot {j} encoded"
                    );
                    // Decoding sees the same integers: only double precision is between them.
                    let d = decoded[j % slots];
                    let precision =
                        encoder.error_bound(slots, encoding.scale, 1.5 * size) - slots as f64 / scale;
                    assert!(
                        (exact.re - d.re).hypot(exact.im - d.im) <= precision,
                        "{slots} slots: slot {j} decoded"
                    );
                }
            }
        }
    }

    #[test]
    fn round_trips_at_every_scale_and_form() {
        let context = mixed_context(12);
        let encoder = Encoder::new(&context);
        let top = context.params().top_level();
        for slots in [2048, 16] {
            let z = random_slots(slots, 4);
            for encoding in [
                Encoding::message(0),
                Encoding::message(top),
                // Scales above the 2^59 that go through one word.
                Encoding::summand(top, Scale::squared(top)),
                Encoding::factor_between(top, Scale::canonical(top), Scale::squared(1)),
            ] {
                let encoding = Encoding { form: Form::Residues, ..encoding };
                let plaintext = encoder.encode_complex(&z, encoding).unwrap();
                let bound = encoder.error_bound(slots, encoding.scale, 1.5);
                for (a, b) in encoder.decode_complex(&plaintext).unwrap().iter().zip(&z) {
                    assert!((a.re - b.re).hypot(a.im - b.im) <= bound, "{encoding:?}");
                }
                // Montgomery form and the special primes change the representation only.
                let extended = Encoding { form: Form::Montgomery, ..encoding.extended() };
                let montgomery = encoder.encode_complex(&z, extended).unwrap();
                for limb in 0..plaintext.poly().limbs() {
                    let modulus = context.modulus(limb);
                    let pairs = plaintext.poly().limb(limb).iter().zip(montgomery.poly().limb(limb));
                    assert!(pairs.into_iter().all(|(&x, &y)| modulus.to_montgomery(x) == y));
                }
            }
        }
    }

    #[test]
    fn real_messages_and_repetition() {
        let context = context(11, 3, 1);
        let encoder = Encoder::new(&context);
        let x: Vec<f64> = (0..32).map(|i| f64::from(i) / 8.0 - 2.0).collect();
        let few = encoder.encode(&x, Encoding::message(1)).unwrap();
        let repeated: Vec<f64> = (0..1024).map(|i| x[i % 32]).collect();
        let full = encoder.encode(&repeated, Encoding::message(1)).unwrap();
        let bound = encoder.error_bound(1024, few.scale(), 2.0);
        for (a, b) in encoder.decode(&full).unwrap().iter().zip(&repeated) {
            assert!((a - b).abs() <= bound);
        }
        // The same polynomial, but for the rounding of the transforms.
        let mut difference = few.poly().clone();
        difference.sub_assign(&context, full.poly());
        difference.to_coefficients(&context);
        assert!(context.centred_coefficients(&difference, 1).iter().all(|c| c.abs() <= 1.0));
    }
}
