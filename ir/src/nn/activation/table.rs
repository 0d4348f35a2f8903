//! The table of activations. A new one is a row here; if ONNX has attributes for it that are no
//! plain numbers, it has a line in the import, too.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI};

use super::{Activation, Clamp, Form, Function, Image, Kind, Parameter, Parity, Smooth};
use crate::nn::expression::Expression::{self, Pi, X};
use crate::nn::expression::number;

/// All activations, in the order of their names.
pub const TABLE: &[&Function] = &[
    &CELU,
    &CLIP,
    &ELU,
    &ERF,
    &EXP,
    &GELU,
    &HARD_SIGMOID,
    &HARD_SWISH,
    &LEAKY_RELU,
    &LOG,
    &MISH,
    &POWER,
    &RELU,
    &SELU,
    &SIGMOID,
    &SILU,
    &SOFTPLUS,
    &SOFTSIGN,
    &SWISH,
    &TANH,
];

/// `x` where positive, `alpha (e^(x / alpha) - 1)` elsewhere (Barron, arXiv 1704.07483).
static CELU: Function = Function {
    name: "celu",
    onnx: "Celu",
    parameters: &[Parameter { name: "alpha", kind: Kind::NonZero, default: 1.0 }],
    value: |p, x| if x < 0.0 { p[0] * (x / p[0]).exp_m1() } else { x },
    form: |p| {
        let negative = number(p[0]) * ((X / number(p[0])).exp() - number(1.0));
        smooth(0.0, 0.0, Parity::General, Expression::sides(negative, X))
    },
    image: |_| Image::Monotone,
};

/// `min(max(x, low), high)`.
static CLIP: Function = Function {
    name: "clip",
    onnx: "Clip",
    parameters: &[
        Parameter { name: "low", kind: Kind::Bound, default: f64::NEG_INFINITY },
        Parameter { name: "high", kind: Kind::Bound, default: f64::INFINITY },
    ],
    value: |p, x| clamp(x, p[0], p[1]),
    form: |p| Form::Clamp(Clamp { low: p[0], high: p[1], scale: 1.0, offset: 0.0 }),
    image: |_| Image::Monotone,
};

/// `x` where positive, `alpha (e^x - 1)` elsewhere (Clevert, Unterthiner, Hochreiter, arXiv
/// 1511.07289).
static ELU: Function = Function {
    name: "elu",
    onnx: "Elu",
    parameters: &[Parameter { name: "alpha", kind: Kind::Number, default: 1.0 }],
    value: |p, x| if x < 0.0 { p[0] * x.exp_m1() } else { x },
    form: |p| exponential_linear(p[0], 1.0),
    image: |_| Image::Bent,
};

/// The error function.
static ERF: Function = Function {
    name: "erf",
    onnx: "Erf",
    parameters: &[],
    value: |_, x| libm::erf(x),
    form: |_| smooth(0.0, 0.0, Parity::Odd, X.erf()),
    image: |_| Image::Monotone,
};

/// `e^x`.
static EXP: Function = Function {
    name: "exp",
    onnx: "Exp",
    parameters: &[],
    value: |_, x| x.exp(),
    form: |_| smooth(0.0, 0.0, Parity::General, X.exp()),
    image: |_| Image::Monotone,
};

/// `x/2 (1 + erf(x / sqrt 2))`, or with `tanh` `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`,
/// which some networks were trained with (Hendrycks and Gimpel, arXiv 1606.08415, section 2).
static GELU: Function = Function {
    name: "gelu",
    onnx: "Gelu",
    parameters: &[Parameter { name: "tanh", kind: Kind::Flag, default: 0.0 }],
    value: |p, x| if p[0] == 0.0 { gelu(x) } else { gelu_tanh(x) },
    form: |p| {
        let gate = if p[0] == 0.0 {
            (X / number(2.0).sqrt()).erf()
        } else {
            ((X + X * X * X * number(0.044715)) * (number(2.0) / Pi).sqrt()).tanh()
        };
        smooth(0.0, 0.5, Parity::Even, gate * number(0.5) * X)
    },
    image: |_| Image::Dip(-0.3),
};

/// `min(max(alpha x + beta, 0), 1)`.
static HARD_SIGMOID: Function = Function {
    name: "hard_sigmoid",
    onnx: "HardSigmoid",
    parameters: &[
        Parameter { name: "alpha", kind: Kind::Number, default: 0.2f32 as f64 },
        Parameter { name: "beta", kind: Kind::Number, default: 0.5 },
    ],
    value: |p, x| clamp(p[0] * x + p[1], 0.0, 1.0),
    form: |p| Form::Clamp(hard_gate(p[0], p[1])),
    image: |_| Image::Monotone,
};

/// `x min(max(x/6 + 1/2, 0), 1)` (Howard et al., arXiv 1905.02244, section 5.2).
static HARD_SWISH: Function = Function {
    name: "hard_swish",
    onnx: "HardSwish",
    parameters: &[],
    value: |_, x| x * clamp(x / 6.0 + 0.5, 0.0, 1.0),
    form: |_| Form::Gate(hard_gate(1.0 / 6.0, 0.5)),
    // -3/8 at -3/2.
    image: |_| Image::Dip(-0.375),
};

/// `x` where positive, `alpha x` elsewhere.
static LEAKY_RELU: Function = Function {
    name: "leaky_relu",
    onnx: "LeakyRelu",
    parameters: &[Parameter { name: "alpha", kind: Kind::Number, default: 0.01f32 as f64 }],
    value: |p, x| if x < 0.0 { p[0] * x } else { x },
    form: |p| Form::Rectifier { negative: p[0] },
    image: |_| Image::Bent,
};

/// Ends of the operands of a function that is not defined everywhere; none are given at first.
const FROM: Parameter = Parameter { name: "from", kind: Kind::Bound, default: f64::NEG_INFINITY };
const TO: Parameter = Parameter { name: "to", kind: Kind::Bound, default: f64::INFINITY };

/// The natural logarithm.
static LOG: Function = Function {
    name: "log",
    onnx: "Log",
    parameters: &[FROM, TO],
    value: |p, x| (x + middle(p[0], p[1])).ln(),
    form: |p| smooth(0.0, 0.0, Parity::General, (X + number(middle(p[0], p[1]))).ln()),
    image: |p| Image::Above(-middle(p[0], p[1])),
};

/// `x tanh(ln(1 + e^x))` (Misra, arXiv 1908.08681).
static MISH: Function = Function {
    name: "mish",
    onnx: "Mish",
    parameters: &[],
    value: |_, x| x * softplus(x).tanh(),
    form: |_| {
        // With e = e^x, the tangent is ((1 + e)^2 - 1) / ((1 + e)^2 + 1).
        let square = || X.exp() * (X.exp() + number(2.0));
        smooth(0.0, 0.0, Parity::General, X * square() / (square() + number(2.0)))
    },
    // -0.3088 at -1.192.
    image: |_| Image::Dip(-0.31),
};

/// `x^exponent`.
static POWER: Function = Function {
    name: "power",
    onnx: "Pow",
    parameters: &[Parameter { name: "exponent", kind: Kind::Number, default: 0.5 }, FROM, TO],
    value: |p, x| (x + middle(p[1], p[2])).powf(p[0]),
    form: |p| {
        let base = || X + number(middle(p[1], p[2]));
        let power = match p[0] {
            -1.0 => number(1.0) / base(),
            0.5 => base().sqrt(),
            -0.5 => number(1.0) / base().sqrt(),
            exponent => (base().ln() * number(exponent)).exp(),
        };
        smooth(0.0, 0.0, Parity::General, power)
    },
    image: |p| {
        let zero = -middle(p[1], p[2]);
        if p[0] > 0.0 { Image::From(zero) } else { Image::Above(zero) }
    },
};

/// `max(x, 0)`.
static RELU: Function = Function {
    name: "relu",
    onnx: "Relu",
    parameters: &[],
    value: |_, x| if x < 0.0 { 0.0 } else { x },
    form: |_| Form::Rectifier { negative: 0.0 },
    image: |_| Image::Monotone,
};

/// `gamma x` where positive, `gamma alpha (e^x - 1)` elsewhere (Klambauer et al., arXiv
/// 1706.02515).
static SELU: Function = Function {
    name: "selu",
    onnx: "Selu",
    parameters: &[
        Parameter { name: "alpha", kind: Kind::Number, default: 1.673_263_2_f32 as f64 },
        Parameter { name: "gamma", kind: Kind::Number, default: 1.050_701_f32 as f64 },
    ],
    value: |p, x| p[1] * if x < 0.0 { p[0] * x.exp_m1() } else { x },
    form: |p| exponential_linear(p[0], p[1]),
    image: |_| Image::Bent,
};

/// `1 / (1 + e^-x)`.
static SIGMOID: Function = Function {
    name: "sigmoid",
    onnx: "Sigmoid",
    parameters: &[],
    value: |_, x| sigmoid(x),
    form: |_| smooth(0.5, 0.0, Parity::Odd, (X / number(2.0)).tanh() * number(0.5)),
    image: |_| Image::Monotone,
};

/// `x sigmoid(x)`.
static SILU: Function = Function {
    name: "silu",
    onnx: "Swish",
    parameters: &[],
    value: |_, x| x * sigmoid(x),
    form: |_| smooth(0.0, 0.5, Parity::Even, (X / number(2.0)).tanh() * number(0.5) * X),
    image: |_| Image::Dip(-0.3),
};

/// `ln(1 + e^x)`.
static SOFTPLUS: Function = Function {
    name: "softplus",
    onnx: "Softplus",
    parameters: &[],
    value: |_, x| softplus(x),
    // x/2 + ln(e^(x/2) + e^(-x/2)).
    form: |_| {
        let half = || X / number(2.0);
        smooth(0.0, 0.5, Parity::Even, (half().exp() + (-half()).exp()).ln())
    },
    image: |_| Image::Monotone,
};

/// `x / (1 + |x|)`.
static SOFTSIGN: Function = Function {
    name: "softsign",
    onnx: "Softsign",
    parameters: &[],
    // Infinity over itself is no number; the limit is 1.
    value: |_, x| if x.is_infinite() { x.signum() } else { x / (1.0 + x.abs()) },
    form: |_| {
        let (negative, positive) = (X / (number(1.0) - X), X / (number(1.0) + X));
        smooth(0.0, 0.0, Parity::Odd, Expression::sides(negative, positive))
    },
    image: |_| Image::Monotone,
};

/// `x sigmoid(alpha x)` (Ramachandran, Zoph, Le, arXiv 1710.05941); [`SILU`] where `alpha` is 1.
static SWISH: Function = Function {
    name: "swish",
    onnx: "Swish",
    parameters: &[Parameter { name: "alpha", kind: Kind::Positive, default: 1.0 }],
    value: |p, x| x * sigmoid(p[0] * x),
    form: |p| {
        let gate = (X * number(p[0]) / number(2.0)).tanh();
        smooth(0.0, 0.5, Parity::Even, gate * number(0.5) * X)
    },
    // As SiLU's, which is -0.2785 at -1.278, with x alpha for x.
    image: |p| Image::Dip(-0.279 / p[0]),
};

/// The hyperbolic tangent.
static TANH: Function = Function {
    name: "tanh",
    onnx: "Tanh",
    parameters: &[],
    value: |_, x| x.tanh(),
    form: |_| smooth(0.0, 0.0, Parity::Odd, X.tanh()),
    image: |_| Image::Monotone,
};

/// Rows by name, for who makes activations.
impl Activation {
    /// `max(x, 0)`.
    pub const RELU: Activation = Activation::plain(&RELU);
    /// `1 / (1 + e^-x)`.
    pub const SIGMOID: Activation = Activation::plain(&SIGMOID);
    /// The hyperbolic tangent.
    pub const TANH: Activation = Activation::plain(&TANH);
    /// `x sigmoid(x)`.
    pub const SILU: Activation = Activation::plain(&SILU);
    /// `e^x`.
    pub const EXP: Activation = Activation::plain(&EXP);

    const fn plain(function: &'static Function) -> Self {
        Activation { function, parameters: [0.0; super::MAX_PARAMETERS] }
    }

    /// The natural logarithm, of whatever is positive.
    pub const LOG: Activation =
        Activation { function: &LOG, parameters: [f64::NEG_INFINITY, f64::INFINITY, 0.0] };

    /// `x^exponent`, of whatever is positive.
    pub const fn power(exponent: f64) -> Self {
        Activation { function: &POWER, parameters: [exponent, f64::NEG_INFINITY, f64::INFINITY] }
    }

    /// `x` where positive, `alpha x` elsewhere.
    pub const fn leaky_relu(alpha: f64) -> Self {
        Activation { function: &LEAKY_RELU, parameters: [alpha, 0.0, 0.0] }
    }

    /// `min(max(x, low), high)`.
    pub const fn clip(low: f64, high: f64) -> Self {
        Activation { function: &CLIP, parameters: [low, high, 0.0] }
    }

    /// `x/2 (1 + erf(x / sqrt 2))`, or the form with `tanh`.
    pub const fn gelu(tanh: bool) -> Self {
        Activation { function: &GELU, parameters: [if tanh { 1.0 } else { 0.0 }, 0.0, 0.0] }
    }

    /// `x sigmoid(alpha x)`, `alpha` above 0.
    pub const fn swish(alpha: f64) -> Self {
        if alpha == 1.0 {
            Activation::SILU
        } else {
            Activation { function: &SWISH, parameters: [alpha, 0.0, 0.0] }
        }
    }
}

fn smooth(constant: f64, slope: f64, parity: Parity, rest: Expression) -> Form {
    Form::Smooth(Smooth { constant, slope, rectifier: 0.0, parity, rest })
}

/// `gamma` times `x` where positive, `alpha (e^x - 1)` elsewhere: `alpha` times that function with
/// `alpha` 1, which has no corner, and a rectifier.
fn exponential_linear(alpha: f64, gamma: f64) -> Form {
    let rest = number(gamma * alpha) * Expression::sides(X.exp() - number(1.0), X);
    let rectifier = gamma * (1.0 - alpha);
    Form::Smooth(Smooth { constant: 0.0, slope: 0.0, rectifier, parity: Parity::General, rest })
}

/// `min(max(alpha x + beta, 0), 1)`.
fn hard_gate(alpha: f64, beta: f64) -> Clamp {
    let ends = [-beta / alpha, (1.0 - beta) / alpha];
    let [low, high] = if alpha < 0.0 { [ends[1], ends[0]] } else { ends };
    if low.is_finite() && high.is_finite() {
        return Clamp { low, high, scale: alpha, offset: beta };
    }
    // As good as constant.
    Clamp { low: 0.0, high: 0.0, scale: 0.0, offset: clamp(beta, 0.0, 1.0) }
}

/// The middle between two ends, 0 where they are not given.
fn middle(from: f64, to: f64) -> f64 {
    if from.is_finite() && to.is_finite() { (from + to) / 2.0 } else { 0.0 }
}

// Comparisons are written so that NaN passes through.

fn clamp(x: f64, low: f64, high: f64) -> f64 {
    let raised = if x < low { low } else { x };
    if raised > high { high } else { raised }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// With `erfc`, which keeps its digits for large negative `x`.
fn gelu(x: f64) -> f64 {
    0.5 * x * libm::erfc(-x * FRAC_1_SQRT_2)
}

fn gelu_tanh(x: f64) -> f64 {
    0.5 * x * (1.0 + (FRAC_2_PI.sqrt() * (x + 0.044715 * x * x * x)).tanh())
}

/// Without overflow at either end.
fn softplus(x: f64) -> f64 {
    (if x < 0.0 { 0.0 } else { x }) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests;
