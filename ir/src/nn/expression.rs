//! Formulas of one variable as data: written once, evaluated in whatever arithmetic is at hand.
//!
//! Approximation needs functions to hundreds of bits, and only `passes` has the numbers for that.
//! So a formula is a tree, and the numbers come to it.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// Numbers that a formula can be evaluated in. Each is rounded to its own precision.
pub trait Number:
    Clone
    + Neg<Output = Self>
    + for<'a> Add<&'a Self, Output = Self>
    + for<'a> Sub<&'a Self, Output = Self>
    + for<'a> Mul<&'a Self, Output = Self>
    + for<'a> Div<&'a Self, Output = Self>
{
    /// What it takes to make a number: nothing, or a length in bits.
    type Precision: Copy;
    /// `value`, exactly.
    fn number(value: f64, precision: Self::Precision) -> Self;
    /// The circle constant.
    fn pi(precision: Self::Precision) -> Self;
    /// `e^self`.
    fn exp(&self) -> Self;
    /// The natural logarithm; not a number below 0.
    fn ln(&self) -> Self;
    /// The hyperbolic tangent.
    fn tanh(&self) -> Self;
    /// The error function.
    fn erf(&self) -> Self;
    /// The non-negative root; not a number below 0.
    fn sqrt(&self) -> Self;
}

impl Number for f64 {
    type Precision = ();

    fn number(value: f64, (): ()) -> Self {
        value
    }

    fn pi((): ()) -> Self {
        std::f64::consts::PI
    }

    fn exp(&self) -> Self {
        f64::exp(*self)
    }

    fn ln(&self) -> Self {
        f64::ln(*self)
    }

    fn tanh(&self) -> Self {
        f64::tanh(*self)
    }

    fn erf(&self) -> Self {
        libm::erf(*self)
    }

    fn sqrt(&self) -> Self {
        f64::sqrt(*self)
    }
}

/// A formula; made by operators from [`X`](Expression::X), [`number`] and [`pi`](Expression::Pi).
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// The variable.
    X,
    /// A constant, exactly this one.
    Number(f64),
    /// The circle constant.
    Pi,
    /// `-a`.
    Negative(Box<Expression>),
    /// `a + b`.
    Sum(Box<[Expression; 2]>),
    /// `a - b`.
    Difference(Box<[Expression; 2]>),
    /// `a b`.
    Product(Box<[Expression; 2]>),
    /// `a / b`.
    Quotient(Box<[Expression; 2]>),
    /// `e^a`.
    Exp(Box<Expression>),
    /// The natural logarithm.
    Ln(Box<Expression>),
    /// The hyperbolic tangent.
    Tanh(Box<Expression>),
    /// The error function.
    Erf(Box<Expression>),
    /// The root.
    Sqrt(Box<Expression>),
    /// The first where `x < 0`, the second elsewhere.
    Sides(Box<[Expression; 2]>),
}

/// The constant `value`, exactly.
pub fn number(value: f64) -> Expression {
    Expression::Number(value)
}

impl Expression {
    /// `e^self`.
    #[must_use]
    pub fn exp(self) -> Self {
        Expression::Exp(Box::new(self))
    }

    /// The natural logarithm.
    #[must_use]
    pub fn ln(self) -> Self {
        Expression::Ln(Box::new(self))
    }

    /// The hyperbolic tangent.
    #[must_use]
    pub fn tanh(self) -> Self {
        Expression::Tanh(Box::new(self))
    }

    /// The error function.
    #[must_use]
    pub fn erf(self) -> Self {
        Expression::Erf(Box::new(self))
    }

    /// The root.
    #[must_use]
    pub fn sqrt(self) -> Self {
        Expression::Sqrt(Box::new(self))
    }

    /// `negative` where `x < 0`, `positive` elsewhere.
    #[must_use]
    pub fn sides(negative: Self, positive: Self) -> Self {
        Expression::Sides(Box::new([negative, positive]))
    }

    /// The value at `x`, every step rounded to `precision`.
    pub fn at<N: Number>(&self, x: f64, precision: N::Precision) -> N {
        let of = |e: &Expression| e.at::<N>(x, precision);
        match self {
            Expression::X => N::number(x, precision),
            Expression::Number(value) => N::number(*value, precision),
            Expression::Pi => N::pi(precision),
            Expression::Negative(a) => -of(a),
            Expression::Sum(pair) => of(&pair[0]) + &of(&pair[1]),
            Expression::Difference(pair) => of(&pair[0]) - &of(&pair[1]),
            Expression::Product(pair) => of(&pair[0]) * &of(&pair[1]),
            Expression::Quotient(pair) => of(&pair[0]) / &of(&pair[1]),
            Expression::Exp(a) => of(a).exp(),
            Expression::Ln(a) => of(a).ln(),
            Expression::Tanh(a) => of(a).tanh(),
            Expression::Erf(a) => of(a).erf(),
            Expression::Sqrt(a) => of(a).sqrt(),
            Expression::Sides(pair) => of(&pair[usize::from(x >= 0.0)]),
        }
    }
}

impl Neg for Expression {
    type Output = Expression;

    fn neg(self) -> Expression {
        Expression::Negative(Box::new(self))
    }
}

macro_rules! operators {
    ($($operator:ident $method:ident $variant:ident),*) => {$(
        impl $operator for Expression {
            type Output = Expression;

            fn $method(self, other: Expression) -> Expression {
                Expression::$variant(Box::new([self, other]))
            }
        }
    )*};
}

operators!(Add add Sum, Sub sub Difference, Mul mul Product, Div div Quotient);

#[cfg(test)]
mod tests {
    use super::*;
    use Expression::{Pi, X};

    #[test]
    fn formulas_are_evaluated_as_they_are_written() {
        let at = |e: &Expression, x: f64| e.at::<f64>(x, ());
        assert_eq!(at(&((X + number(3.0)) * X - number(1.0) / number(4.0)), 2.0), 9.75);
        assert_eq!(at(&(-X), 2.0), -2.0);
        assert_eq!(at(&Pi.sqrt(), 0.0), std::f64::consts::PI.sqrt());
        assert_eq!(at(&X.exp().ln(), 1.5), 1.5);
        assert_eq!(at(&X.tanh(), 0.5), 0.5f64.tanh());
        assert_eq!(at(&X.erf(), 0.5), libm::erf(0.5));
        let sides = Expression::sides(number(1.0), number(2.0));
        assert_eq!([-0.1, 0.0, 0.1].map(|x| at(&sides, x)), [1.0, 2.0, 2.0]);
    }
}
