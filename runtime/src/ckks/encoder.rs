//! Slots to plaintexts and back.
//!
//! *Error* of encoding and decoding a message `m` at scale `S` with `n` slots, worst case over slots: rounding moves every
//! one of the `2n` coefficients by at most 1/2, hence a slot by at most `n / S` (typically `sqrt(n / 6) / S`); double precision adds
//! at most `2 u sqrt(n) (5 log2(n) + 4) max|m|`, `u = 2^-53`, both directions together ([`super::special_fft`]; 4 for the scaling
//! and the conversion). [`Encoder::error_bound`] is this sum.

use fhec_ir::scale::{Level, Scale};

use super::plaintext::{Complex, Form, Plaintext, PlaintextScale};
use super::special_fft::SpecialFft;
use crate::error::EvalError;
use crate::kernels::{self, Modulus};
use crate::ring::{Basis, Context, Domain, Poly, Work};

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

    /// A factor for canonical values at `level`; the product rescales to the canonical scale of the level below.
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

/// Integers are passed on as residues of this prime, `2^61 - 1`, when they are below `2^59` in size.
const CARRIER: u64 = (1 << 61) - 1;
const CARRIER_BITS: i32 = 59;

/// Coefficients of an encoded message before they are rounded, `2 slots` of them: first half and second half.
pub(super) struct Coefficients {
    re: Vec<f64>,
    im: Vec<f64>,
    exponent: i32,
}

impl Coefficients {
    /// Rounds to multiples of [`Coefficients::unit`], and writes how many they are as residues of the carrier prime, in
    /// steps of `out.len() / (2 slots)`, zeros between.
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

    /// The power of two that the written integers are to be multiplied with.
    pub(super) fn unit(&self, modulus: &Modulus) -> u64 {
        modulus.pow(modulus.reduce(2), self.exponent as u64)
    }
}

/// Encoder and decoder of one context.
#[derive(Debug)]
pub struct Encoder<'a> {
    context: &'a Context,
    fft: SpecialFft,
    carrier: Modulus,
}

impl<'a> Encoder<'a> {
    /// Makes the tables of the embedding.
    pub fn new(context: &'a Context) -> Self {
        let carrier = Modulus::new(CARRIER).expect("2^61 - 1 is a prime below 2^61");
        Encoder { context, fft: SpecialFft::new(context.params().slots()), carrier }
    }

    /// The context it belongs to.
    pub fn context(&self) -> &'a Context {
        self.context
    }

    /// Encodes real numbers, one per slot. Their number is a power of two up to N/2; fewer than N/2 are repeated.
    pub fn encode(&self, values: &[f64], encoding: Encoding) -> Result<Plaintext, EvalError> {
        self.encode_parts(values.to_vec(), vec![0.0; values.len()], encoding)
    }

    /// Encodes complex numbers, one per slot. Their number is a power of two up to N/2; fewer than N/2 are repeated.
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
        let context = self.context;
        let isa = context.isa();
        let basis = Basis { chain: context.params().limbs(level), special };
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
        // Above 2^59 the integers are multiples of 2^shift; a double has no more than 53 bits anyway.
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
    /// With fewer slots than N/2 the repeated copies are averaged, which removes noise between them.
    pub fn decode_complex(&self, plaintext: &Plaintext) -> Result<Vec<Complex>, EvalError> {
        if plaintext.form != Form::Residues || plaintext.poly.basis().special {
            return Err(EvalError::PlaintextForm {
                op: "decode",
                expected: "of plain residues over the chain",
            });
        }
        let slots = plaintext.slots;
        let mut poly = plaintext.poly.clone();
        let scale = plaintext.scale.exact(self.context.params()).to_f64();
        poly.to_coefficients(self.context);
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

    /// Bound of the error per slot of encoding and decoding a message of size `max_abs`; see the module.
    pub fn error_bound(&self, slots: usize, scale: PlaintextScale, max_abs: f64) -> f64 {
        let n = slots as f64;
        let rounding = n / scale.exact(self.context.params()).to_f64();
        rounding + 2.0 * f64::EPSILON / 2.0 * n.sqrt() * (5.0 * n.log2() + 4.0) * max_abs
    }
}
