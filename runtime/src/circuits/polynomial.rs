//! Chebyshev polynomials at optimal depth, with exact scales.
//!
//! The scheme of evaluation is a [`PolynomialShape`]; here are its levels and scales. They are
//! chosen from the top down (Bossuat et al., ePrint 2020/1203, section 5): the result must have a
//! given scale, so the sum before its rescaling has that times the primes divided by; in `q T_g +
//! r` the quotient must have the scale of the sum over that of `T_g`, and every constant is the
//! integer that carries its `T_k`, whatever scale that has, to the scale of the sum. All additions
//! are between equal scales; the only errors of constants are their roundings, `2^-40` and less.
//!
//! The same walk serves every kind of value that has the three operations of [`Arithmetic`]:
//! ciphertexts here, slots with modelled errors in [`crate::exec`].

use std::collections::{BTreeMap, BTreeSet};

use fhec_ir::params::Params;
use fhec_ir::polynomial_shape::{BasisElement, Node, PolynomialShape, basis_depth};
use fhec_ir::scale::{ExactScale, Level, Scale};
use num_bigint::BigUint;
use num_traits::One;

use crate::ckks::Evaluator;
use crate::error::EvalError;
use crate::parallel;
use crate::rlwe::Ciphertext;

/// What evaluating a polynomial asks of its values. Scales are carried beside them, exactly.
pub trait Arithmetic: Sync {
    /// A ciphertext, or what stands for one.
    type Value: Send + Sync;

    /// `a b` at `level`, neither relinearised nor rescaled. The operands are at levels that it
    /// nests in.
    fn mul(&self, a: &Self::Value, b: &Self::Value, level: Level) -> Result<Self::Value, EvalError>;

    /// The value, of scale `scale` at level `from`, at a lower level that does not nest in it, at
    /// the same scale. The label is as that of [`Self::rescale`].
    fn lower(
        &self,
        value: &Self::Value,
        levels: (Level, Level),
        scale: &ExactScale,
        label: u64,
    ) -> Result<Self::Value, EvalError>;

    /// The sum of all terms and `constant` at `level` and scale `scale`.
    fn sum(
        &self,
        level: Level,
        scale: &ExactScale,
        terms: &[Term<'_, Self::Value>],
        constant: f64,
    ) -> Result<Self::Value, EvalError>;

    /// Relinearises what needs it and rescales from `level` to the level below, where the scale is
    /// `scale`. The label is different for every rescaling of one polynomial, and the same in every
    /// evaluation.
    fn rescale(
        &self,
        sum: Self::Value,
        level: Level,
        scale: &ExactScale,
        label: u64,
    ) -> Result<Self::Value, EvalError>;
}

/// A term of a sum: `coefficient * value`, carried to the scale of the sum.
pub struct Term<'a, V> {
    /// The value.
    pub value: &'a V,
    /// Its coefficient.
    pub coefficient: f64,
    /// Scale of the sum over that of the value.
    pub ratio: ExactScale,
}

/// What copies of basis elements add to the elements' labels, per level: above all degrees of basis
/// elements.
const COPY: u64 = 1 << 12;
/// Label of the root: above all degrees, which label the basis elements.
const ROOT: u64 = 1 << 20;
/// Above the number of products of any node.
const MAX_PRODUCTS: u64 = 1 << 6;

struct Scaled<V> {
    value: V,
    scale: ExactScale,
}

/// The polynomial of `shape` at `input`, a canonical value at `level`. The result is canonical,
/// `shape.depth` levels lower.
///
/// *Cost*: [`PolynomialShape::counts`]. Elements of equal depth, and quotients of one node, are
/// computed side by side.
///
/// # Errors
/// [`EvalError::LevelTooLow`] if there are not enough levels, and those of the operations.
///
/// # Panics
/// If the shape has depth 0: a constant is no function of a ciphertext.
pub fn evaluate<A: Arithmetic>(
    arithmetic: &A,
    params: &Params,
    shape: &PolynomialShape,
    input: &A::Value,
    level: Level,
) -> Result<A::Value, EvalError> {
    assert!(shape.depth > 0, "a constant is no function of a ciphertext");
    let depth = shape.depth as Level;
    let op = "polynomial";
    let Some(out) = level.checked_sub(depth) else {
        return Err(EvalError::LevelTooLow { op, needed: depth, found: level });
    };
    let scale = params.canonical_scale(level);
    let mut walk =
        Walk { arithmetic, params, input, scale, level, basis: BTreeMap::new(), copies: BTreeMap::new() };
    let copies = shape.copies(params, level);
    walk.copy(&copies, 0)?;
    for depth in 1..=shape.depth {
        let elements: Vec<&BasisElement> =
            shape.basis.iter().filter(|element| basis_depth(element.index) == depth).collect();
        let made = parallel::map(elements, |e| Ok((e.index, walk.basis_element(e)?)));
        walk.basis.extend(made.into_iter().collect::<Result<Vec<_>, EvalError>>()?);
        walk.copy(&copies, depth)?;
    }
    walk.node(&shape.root, depth - 1, params.canonical_scale(out), ROOT)
}

struct Walk<'a, A: Arithmetic> {
    arithmetic: &'a A,
    params: &'a Params,
    input: &'a A::Value,
    scale: &'a ExactScale,
    level: Level,
    basis: BTreeMap<usize, Scaled<A::Value>>,
    /// Basis elements at levels that do not nest in theirs.
    copies: BTreeMap<(usize, Level), A::Value>,
}

fn quotient(a: &ExactScale, b: &ExactScale) -> ExactScale {
    a.mul_ratio(&BigUint::one(), b)
}

impl<A: Arithmetic> Walk<'_, A> {
    /// `T_k`, `k >= 1`, and its scale.
    fn element(&self, k: usize) -> (&A::Value, &ExactScale) {
        match self.basis.get(&k) {
            Some(element) => (&element.value, &element.scale),
            None => (self.input, self.scale),
        }
    }

    /// [`Self::element`] to be used at `level`.
    fn element_at(&self, k: usize, level: Level) -> (&A::Value, &ExactScale) {
        let (value, scale) = self.element(k);
        (self.copies.get(&(k, level)).unwrap_or(value), scale)
    }

    /// Makes those of `copies` that are of elements `depth` levels below the operand.
    fn copy(&mut self, copies: &BTreeSet<(usize, Level)>, depth: u32) -> Result<(), EvalError> {
        let of_depth: Vec<(usize, Level)> =
            copies.iter().copied().filter(|&(k, _)| basis_depth(k) == depth).collect();
        let from = self.level - depth as Level;
        let made = parallel::map(of_depth, |(k, to)| {
            let (value, scale) = self.element(k);
            let label = k as u64 + COPY * (u64::from(to) + 1);
            Ok(((k, to), self.arithmetic.lower(value, (from, to), scale, label)?))
        });
        self.copies.extend(made.into_iter().collect::<Result<Vec<_>, EvalError>>()?);
        Ok(())
    }

    fn term(&self, k: usize, coefficient: f64, level: Level, scale: &ExactScale) -> Term<'_, A::Value> {
        let (value, own) = self.element_at(k, level);
        Term { value, coefficient, ratio: quotient(scale, own) }
    }

    /// `2 T_left T_right - T_(left - right)`, rescaled.
    fn basis_element(&self, element: &BasisElement) -> Result<Scaled<A::Value>, EvalError> {
        let &BasisElement { index, left, right } = element;
        let level = self.level - (basis_depth(index) as Level - 1);
        let ((a, a_scale), (b, b_scale)) = (self.element_at(left, level), self.element_at(right, level));
        let product = self.arithmetic.mul(a, b, level)?;
        let scale = a_scale.mul(b_scale);
        let mut terms = vec![Term { value: &product, coefficient: 2.0, ratio: ExactScale::power_of_two(0) }];
        let mut constant = 0.0;
        match left - right {
            0 => constant = -1.0,
            difference => terms.push(self.term(difference, -1.0, level, &scale)),
        }
        let sum = self.arithmetic.sum(level, &scale, &terms, constant)?;
        let scale = quotient(&scale, &self.params.rescale_divisor(level));
        let value = self.arithmetic.rescale(sum, level, &scale, index as u64)?;
        Ok(Scaled { value, scale })
    }

    /// The node, summed up `depth` levels below the operand and rescaled, at scale `target`.
    fn node(
        &self,
        node: &Node,
        depth: Level,
        target: &ExactScale,
        label: u64,
    ) -> Result<A::Value, EvalError> {
        let level = self.level - depth;
        let scale = target.mul(&self.params.rescale_divisor(level));
        let products = parallel::map(node.products.iter().enumerate(), |(number, product)| {
            let (giant, giant_scale) = self.element_at(product.giant, level);
            let target = quotient(&scale, giant_scale);
            let label = label.wrapping_mul(MAX_PRODUCTS).wrapping_add(number as u64);
            let factor = self.node(&product.quotient, depth - 1, &target, label)?;
            self.arithmetic.mul(&factor, giant, level)
        });
        let products = products.into_iter().collect::<Result<Vec<A::Value>, EvalError>>()?;
        let one = || ExactScale::power_of_two(0);
        let mut terms: Vec<Term<'_, A::Value>> =
            products.iter().map(|value| Term { value, coefficient: 1.0, ratio: one() }).collect();
        let mut constant = 0.0;
        for &(k, coefficient) in &node.terms {
            match k {
                0 => constant = coefficient,
                _ => terms.push(self.term(k, coefficient, level, &scale)),
            }
        }
        if terms.is_empty() {
            // Coefficients cancelled: the node is a constant, and still must be a ciphertext.
            terms.push(self.term(1, 0.0, level, &scale));
        }
        let sum = self.arithmetic.sum(level, &scale, &terms, constant)?;
        self.arithmetic.rescale(sum, level, target, label)
    }
}

/// On ciphertexts, the names of scales say only where a value stands in the chain; the walk knows
/// the exact ones.
impl Arithmetic for Evaluator<'_> {
    type Value = Ciphertext;

    fn mul(&self, a: &Ciphertext, b: &Ciphertext, level: Level) -> Result<Ciphertext, EvalError> {
        self.product_at(level, a, b)
    }

    fn lower(
        &self,
        value: &Ciphertext,
        (_, to): (Level, Level),
        _: &ExactScale,
        _: u64,
    ) -> Result<Ciphertext, EvalError> {
        self.mod_drop(value, to)
    }

    fn sum(
        &self,
        level: Level,
        scale: &ExactScale,
        terms: &[Term<'_, Ciphertext>],
        constant: f64,
    ) -> Result<Ciphertext, EvalError> {
        let sources: Result<Vec<_>, EvalError> =
            terms.iter().map(|t| Ok((t.value, self.scaled_integer(t.coefficient, &t.ratio)?))).collect();
        let constant = self.scaled_integer(constant, scale)?;
        self.combine(level, Scale::squared(level), &sources?, &constant)
    }

    fn rescale(&self, sum: Ciphertext, _: Level, _: &ExactScale, _: u64) -> Result<Ciphertext, EvalError> {
        match sum.size() {
            2 => Evaluator::rescale(self, &sum),
            _ => self.relinearize_rescale(&sum),
        }
    }
}

impl Evaluator<'_> {
    /// The polynomial of `shape` of a canonical ciphertext whose slots are in `[-1, 1]`:
    /// [`evaluate`].
    ///
    /// *Level*: `shape.depth` lower. *Scale*: canonical in, canonical out, exactly. *Size*: 2.
    pub fn polynomial(&self, a: &Ciphertext, shape: &PolynomialShape) -> Result<Ciphertext, EvalError> {
        let (expected, found) = (Scale::canonical(a.level()), a.scale());
        if found != expected {
            return Err(EvalError::ScaleMismatch { op: "polynomial", expected, found });
        }
        if a.size() != 2 {
            return Err(EvalError::SizeMismatch { op: "polynomial", expected: 2, found: a.size() });
        }
        evaluate(self, self.context().params(), shape, a, a.level())
    }
}
