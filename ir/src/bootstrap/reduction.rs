//! What the sine of a bootstrap makes of a message, errors aside: the cosine's polynomial, the
//! doublings and the arcsine, in double precision.
//!
//! For the integer `I` that raising the modulus left, `m` becomes `rho / (2 pi) f(t)` with `rho =
//! q_0 / D_0` (half of it for slots to coefficients last, [`BootstrapParams::coefficient_gain`]),
//! `t = (I + m / rho - 1/4) / width`, and `f` the circuit in units where it is about `sin(2 pi (I +
//! m / rho))`. Without an arcsine that is `rho / (2 pi) sin(2 pi m / rho)`, the cubic error of the
//! sine (Cheon, Han, Kim, Kim, Song, ePrint 2018/153). With slots to coefficients first this
//! happens to every slot on its own: messages become coefficients and slots again without mixing.
//! With slots to coefficients last it happens to the coefficients of the message's polynomial.
//!
//! Nothing stops a message that is too large: `m / rho` beyond 1/2 is another residue with another
//! integer, and between the points that the cosine's polynomial was made for it is what it is.

use std::f64::consts::PI;

use super::BootstrapParams;
use crate::params::Params;
use crate::polynomial::Polynomial;

/// The function that a bootstrap applies to every slot or coefficient.
#[derive(Clone, Debug)]
pub struct Reduction {
    /// The even cosine as a polynomial in `2 t^2 - 1`: `T_2k(t) = T_k(2 t^2 - 1)`, half the work.
    cosine: Polynomial,
    double_angles: u32,
    arcsine: Option<Polynomial>,
    width: f64,
    ratio: f64,
}

impl Reduction {
    /// That of `bootstrap`, a valid one for `params`.
    pub fn new(bootstrap: &BootstrapParams, params: &Params) -> Self {
        let even = bootstrap.cosine.coefficients().iter().copied().step_by(2).collect();
        Reduction {
            cosine: Polynomial::chebyshev(even, [-1.0, 1.0]).expect("coefficients of a polynomial"),
            double_angles: bootstrap.double_angles,
            arcsine: bootstrap.arcsine.clone(),
            width: bootstrap.width(),
            ratio: bootstrap.message_ratio(params),
        }
    }

    /// `rho`: a message of this size fills the modulus.
    pub fn ratio(&self) -> f64 {
        self.ratio
    }

    /// What becomes of `message` beside `integer`.
    pub fn apply(&self, message: f64, integer: f64) -> f64 {
        let y = self.double(self.cosine.eval(self.squared_argument(message, integer)));
        self.factor() * self.arcsine.as_ref().map_or(y, |arcsine| arcsine.eval(y))
    }

    /// [`Self::apply`] to all slots in place, many at a time; `integer(slot)` is asked once for
    /// each, in order.
    pub fn apply_all(&self, messages: &mut [f64], mut integer: impl FnMut(usize) -> f64) {
        for (slot, m) in messages.iter_mut().enumerate() {
            *m = self.squared_argument(*m, integer(slot));
        }
        self.cosine.eval_slots(messages);
        messages.iter_mut().for_each(|c| *c = self.double(*c));
        if let Some(arcsine) = &self.arcsine {
            arcsine.eval_slots(messages);
        }
        messages.iter_mut().for_each(|y| *y *= self.factor());
    }

    /// Derivative by the message, the cosine's polynomial taken as exact: `cos(2 pi m / rho)`, or 1
    /// where an arcsine undoes the sine.
    pub fn slope(&self, message: f64) -> f64 {
        if self.arcsine.is_some() { 1.0 } else { (2.0 * PI * message / self.ratio).cos() }
    }

    /// `2 t^2 - 1`.
    fn squared_argument(&self, message: f64, integer: f64) -> f64 {
        let residue = message / self.ratio;
        // The representative modulo q_0. Most messages are their own, and rounding is a slow call.
        let residue = if residue.abs() <= 0.5 { residue } else { residue - residue.round() };
        let t = (integer + residue - 0.25) / self.width;
        2.0 * t * t - 1.0
    }

    fn double(&self, c: f64) -> f64 {
        (0..self.double_angles).fold(c, |c, _| 2.0 * c * c - 1.0)
    }

    fn factor(&self) -> f64 {
        self.ratio / (2.0 * PI)
    }
}
