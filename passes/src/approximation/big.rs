//! Binary floating point of any length: a thin layer over `astro-float` that remembers its length.

use std::{
    cell::RefCell,
    ops::{Add, Div, Mul, Neg, Sub},
};

use astro_float::{BigFloat, Consts, RoundingMode};

use fhec_ir::nn::expression::Number;

use super::real::{Real, Target};

const ROUNDING: RoundingMode = RoundingMode::ToEven;

thread_local! {
    /// Digits of pi, e and ln 2 computed so far on this thread; a memo, with no effect on results.
    static CONSTANTS: RefCell<Consts> = RefCell::new(Consts::new().expect("memory for a few constants"));
}

/// A real number with a mantissa of `bits` bits (rounded up to whole words), rounded to nearest.
///
/// Results have the precision of the left operand.
#[derive(Clone, Debug)]
pub struct Big {
    value: BigFloat,
    bits: usize,
}

impl Big {
    /// `value`, exactly (`bits` is at least 64).
    pub fn new(value: f64, bits: usize) -> Big {
        Big { value: BigFloat::from_f64(value, bits), bits }
    }

    /// The circle constant.
    pub fn pi(bits: usize) -> Big {
        Big { value: CONSTANTS.with_borrow_mut(|c| c.pi(bits, ROUNDING)), bits }
    }

    /// e^self.
    pub fn exp(&self) -> Big {
        self.map(|c| self.value.exp(self.bits, ROUNDING, c))
    }

    /// tanh(self).
    pub fn tanh(&self) -> Big {
        self.map(|c| self.value.tanh(self.bits, ROUNDING, c))
    }

    /// sin(self).
    pub fn sin(&self) -> Big {
        self.map(|c| self.value.sin(self.bits, ROUNDING, c))
    }

    /// cos(self).
    pub fn cos(&self) -> Big {
        self.map(|c| self.value.cos(self.bits, ROUNDING, c))
    }

    /// The non-negative root; not a number for negative arguments.
    pub fn sqrt(&self) -> Big {
        self.map(|_| self.value.sqrt(self.bits, ROUNDING))
    }

    /// |self|.
    pub fn abs(&self) -> Big {
        self.map(|_| self.value.abs())
    }

    /// Length of the mantissa in bits.
    pub fn bits(&self) -> usize {
        self.bits
    }

    fn map(&self, f: impl FnOnce(&mut Consts) -> BigFloat) -> Big {
        Big { value: CONSTANTS.with_borrow_mut(f), bits: self.bits }
    }
}

impl Real for Big {
    fn to_f64(&self) -> f64 {
        if self.value.is_nan() {
            return f64::NAN;
        }
        let sign = if self.value.is_negative() { -1.0 } else { 1.0 };
        let Some((words, _, _, exponent, _)) = self.value.as_raw_parts() else {
            return sign * f64::INFINITY;
        };
        // The value is 0.m * 2^exponent, most significant word last. The head keeps 64 bits, the
        // last of which also remembers whether anything follows, so that the conversion of the head
        // rounds as the whole number would.
        let Some((&top, rest)) = words.split_last().filter(|(top, _)| **top != 0) else {
            return 0.0 * sign;
        };
        let head = top | u64::from(rest.iter().any(|w| *w != 0));
        sign * ldexp(head as f64, exponent - 64)
    }

    fn is_zero(&self) -> bool {
        self.value.is_zero()
    }

    fn of(target: &dyn Target, x: f64, bits: usize) -> Big {
        target.precise(x, bits)
    }

    fn cos_pi(numerator: usize, denominator: usize, bits: usize) -> Big {
        (Big::pi(bits) * &Big::new(numerator as f64, bits) / &Big::new(denominator as f64, bits)).cos()
    }

    fn unit(bits: usize) -> f64 {
        ldexp(1.0, 1 - bits as i32)
    }
}

impl Number for Big {
    type Precision = usize;

    fn number(value: f64, bits: usize) -> Big {
        Big::new(value, bits)
    }

    fn pi(bits: usize) -> Big {
        Big::pi(bits)
    }

    fn exp(&self) -> Big {
        Big::exp(self)
    }

    fn ln(&self) -> Big {
        self.map(|c| self.value.ln(self.bits, ROUNDING, c))
    }

    fn tanh(&self) -> Big {
        Big::tanh(self)
    }

    /// e^(-x^2) times a series of positive terms, so nothing cancels.
    fn erf(&self) -> Big {
        let bits = self.bits;
        let square = self.clone() * self;
        let twice = square.clone() + &square;
        let (mut term, mut sum) = (self.clone(), self.clone());
        let mut k = 1.0;
        while !term.is_zero() && term.to_f64().abs() > sum.to_f64().abs() * Big::unit(bits) {
            term = term * &twice / &Big::new(2.0 * k + 1.0, bits);
            sum = sum + &term;
            k += 1.0;
        }
        let two_over_root_pi = Big::new(2.0, bits) / &Big::pi(bits).sqrt();
        sum * &(-square).exp() * &two_over_root_pi
    }

    fn sqrt(&self) -> Big {
        Big::sqrt(self)
    }
}

/// x * 2^exponent in steps that stay within the range of `f64` as long as the result does.
fn ldexp(x: f64, exponent: i32) -> f64 {
    let mut rest = exponent.clamp(-3000, 3000);
    let mut result = x;
    while rest != 0 {
        let step = rest.clamp(-1000, 1000);
        result *= 2f64.powi(step);
        rest -= step;
    }
    result
}

impl Neg for Big {
    type Output = Big;

    fn neg(self) -> Big {
        Big { value: self.value.neg(), bits: self.bits }
    }
}

macro_rules! arithmetic {
    ($($operation:ident $method:ident),*) => {$(
        impl $operation<&Big> for Big {
            type Output = Big;

            fn $method(self, other: &Big) -> Big {
                Big { value: self.value.$method(&other.value, self.bits, ROUNDING), bits: self.bits }
            }
        }
    )*};
}

arithmetic!(Add add, Sub sub, Mul mul, Div div);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversion_to_f64_rounds_to_nearest() {
        for x in [0.0, 1.0, -1.5, 1e300, -1e-300, 3.0 / 7.0, 2f64.powi(-1000)] {
            assert_eq!(Big::new(x, 192).to_f64(), x);
        }
        let (one, half_unit) = (Big::new(1.0, 192), Big::new(2f64.powi(-53), 192));
        let tie = one.clone() + &half_unit;
        assert_eq!(tie.to_f64(), 1.0, "a tie goes to the even neighbour");
        assert_eq!((tie.clone() + &Big::new(2f64.powi(-150), 192)).to_f64(), 1.0 + f64::EPSILON);
        assert_eq!((tie - &Big::new(2f64.powi(-150), 192)).to_f64(), 1.0);
    }

    #[test]
    fn long_arithmetic_keeps_what_f64_loses() {
        let one = Big::new(1.0, 256);
        let tiny = Big::new(2f64.powi(-200), 256);
        assert_eq!((one.clone() + &tiny - &one).to_f64(), 2f64.powi(-200));
        let third = one.clone() / &Big::new(3.0, 256);
        let defect = (third * &Big::new(3.0, 256) - &one).to_f64().abs();
        assert!(defect <= 2f64.powi(-254), "{defect:e}");
    }

    #[test]
    fn functions_agree_with_f64() {
        for x in [-3.25, -0.5, 0.0, 0.125, 2.0, 7.5] {
            let big = Big::new(x, 128);
            for (long, short) in
                [(big.exp(), x.exp()), (big.tanh(), x.tanh()), (big.sin(), x.sin()), (big.cos(), x.cos())]
            {
                assert!((long.to_f64() - short).abs() <= 4.0 * f64::EPSILON * short.abs().max(1e-3), "{x}");
            }
        }
        assert_eq!(Big::pi(128).to_f64(), std::f64::consts::PI);
        assert!((Big::cos_pi(1, 3, 128).to_f64() - 0.5).abs() < 1e-16);
    }

    #[test]
    fn erf_has_its_tabulated_values() {
        for (x, value) in [
            (0.0, 0.0),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.5, 0.999_593_047_982_555),
        ] {
            assert!((Big::new(x, 192).erf().to_f64() - value).abs() < 2e-16);
        }
    }
}
