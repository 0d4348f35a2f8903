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
use std::ops::Range;

use fhec_ir::params::Params;
use fhec_ir::polynomial_shape::{BasisElement, Node, PolynomialShape, Product, basis_depth};
use fhec_ir::scale::{ExactScale, Level, Scale};
use num_bigint::BigUint;
use num_traits::One;

use crate::ckks::Evaluator;
use crate::ckks::eval::combine::Combination;
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

    /// [`Self::sum`] of each of several sums at one level, of much the same values.
    fn sums(&self, level: Level, sums: &[Sum<'_, Self::Value>]) -> Result<Vec<Self::Value>, EvalError> {
        let sum = |Sum { scale, terms, constant }: &Sum<'_, _>| self.sum(level, scale, terms, *constant);
        parallel::map(sums, sum).into_iter().collect()
    }

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

/// A sum to be made.
pub struct Sum<'a, V> {
    /// Its scale.
    pub scale: ExactScale,
    /// At least one.
    pub terms: Vec<Term<'a, V>>,
    /// What is added.
    pub constant: f64,
}

/// A node of the scheme, in its place in the chain.
struct Place<'s> {
    node: &'s Node,
    /// Of the sum, before it is rescaled.
    scale: ExactScale,
    /// Of the result.
    target: ExactScale,
    label: u64,
    /// Where the quotients are among the places one level up.
    quotients: Range<usize>,
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
/// *Cost*: [`PolynomialShape::counts`]. Elements of equal depth, and nodes of equal depth, are
/// computed side by side: what nodes take of basis elements is read from memory once for all.
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
    walk.root(&shape.root, depth - 1, params.canonical_scale(out))
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

    /// The root, summed up `depth` levels below the operand and rescaled, at scale `target`.
    fn root(&self, root: &Node, depth: Level, target: &ExactScale) -> Result<A::Value, EvalError> {
        let places = self.places(root, depth, target);
        let mut quotients = Vec::new();
        for (depth, places) in places.iter().enumerate() {
            quotients = self.nodes(places, depth as Level, &quotients)?;
        }
        Ok(quotients.pop().expect("the root is in the last place"))
    }

    /// The nodes below a root, itself included, by how many levels below the operand they are
    /// summed up. Scales follow from that of the root.
    fn places<'s>(&self, root: &'s Node, depth: Level, target: &ExactScale) -> Vec<Vec<Place<'s>>> {
        let place = |node, depth: Level, target: ExactScale, label| {
            let scale = target.mul(&self.params.rescale_divisor(self.level - depth));
            Place { node, scale, target, label, quotients: 0..0 }
        };
        let mut by_depth = vec![vec![place(root, depth, target.clone(), ROOT)]];
        for depth in (0..depth).rev() {
            let mut quotients = Vec::new();
            for above in by_depth.last_mut().into_iter().flatten() {
                let start = quotients.len();
                for (number, product) in above.node.products.iter().enumerate() {
                    let (_, giant_scale) = self.element(product.giant);
                    let label = above.label.wrapping_mul(MAX_PRODUCTS).wrapping_add(number as u64);
                    quotients.push(place(
                        &product.quotient,
                        depth,
                        quotient(&above.scale, giant_scale),
                        label,
                    ));
                }
                above.quotients = start..quotients.len();
            }
            by_depth.push(quotients);
        }
        by_depth.reverse();
        by_depth
    }

    /// The nodes at `places`, summed up `depth` levels below the operand and rescaled; `quotients`
    /// are the values of the nodes one level up.
    fn nodes(
        &self,
        places: &[Place<'_>],
        depth: Level,
        quotients: &[A::Value],
    ) -> Result<Vec<A::Value>, EvalError> {
        let level = self.level - depth;
        let terms: Vec<Option<Sum<'_, A::Value>>> =
            places.iter().map(|place| self.terms(place, level)).collect();
        let has_terms: Vec<bool> = terms.iter().map(Option::is_some).collect();
        let terms: Vec<Sum<'_, A::Value>> = terms.into_iter().flatten().collect();
        let mut sums = self.arithmetic.sums(level, &terms)?.into_iter();
        let with_sums =
            places.iter().zip(has_terms).map(|(place, has)| (place, has.then(|| sums.next()).flatten()));
        let with_sums: Vec<(&Place<'_>, Option<A::Value>)> = with_sums.collect();
        let node = |(place, sum): (&Place<'_>, Option<A::Value>)| {
            let Place { node, scale, target, label, quotients: range } = place;
            let factors = node.products.iter().zip(&quotients[range.clone()]).collect::<Vec<_>>();
            let product = |(product, quotient): (&Product, &A::Value)| {
                let (giant, _) = self.element_at(product.giant, level);
                self.arithmetic.mul(quotient, giant, level)
            };
            let products =
                parallel::map(factors, product).into_iter().collect::<Result<Vec<_>, EvalError>>()?;
            let sum = match sum {
                Some(sum) if products.is_empty() => sum,
                sum => {
                    let one = |value| Term { value, coefficient: 1.0, ratio: ExactScale::power_of_two(0) };
                    // Without terms of basis elements, the constant is still to come.
                    let constant = if sum.is_some() { 0.0 } else { constant_of(node) };
                    let terms: Vec<Term<'_, A::Value>> = products.iter().chain(&sum).map(one).collect();
                    self.arithmetic.sum(level, scale, &terms, constant)?
                }
            };
            self.arithmetic.rescale(sum, level, target, *label)
        };
        parallel::map(with_sums, node).into_iter().collect()
    }

    /// What a node takes of basis elements, and its constant beside them; `None` where it is a sum
    /// of products alone.
    fn terms(&self, place: &Place<'_>, level: Level) -> Option<Sum<'_, A::Value>> {
        let Place { node, scale, .. } = place;
        let terms = node.terms.iter().filter(|&&(k, _)| k > 0);
        let mut terms: Vec<_> =
            terms.map(|&(k, coefficient)| self.term(k, coefficient, level, scale)).collect();
        if terms.is_empty() && node.products.is_empty() {
            // Coefficients cancelled: the node is a constant, and still must be a ciphertext.
            terms.push(self.term(1, 0.0, level, scale));
        }
        (!terms.is_empty()).then(|| Sum { scale: scale.clone(), terms, constant: constant_of(node) })
    }
}

/// The constant that a node adds.
fn constant_of(node: &Node) -> f64 {
    node.terms.iter().find(|&&(k, _)| k == 0).map_or(0.0, |&(_, coefficient)| coefficient)
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
        self.combine(level, Scale::squared(level), &self.combination(scale, terms, constant)?)
    }

    fn sums(&self, level: Level, sums: &[Sum<'_, Ciphertext>]) -> Result<Vec<Ciphertext>, EvalError> {
        let combinations = sums.iter().map(|sum| self.combination(&sum.scale, &sum.terms, sum.constant));
        let combinations = combinations.collect::<Result<Vec<_>, EvalError>>()?;
        self.combine_all(level, Scale::squared(level), &combinations)
    }

    fn rescale(&self, sum: Ciphertext, _: Level, _: &ExactScale, _: u64) -> Result<Ciphertext, EvalError> {
        match sum.size() {
            2 => Evaluator::rescale(self, &sum),
            _ => self.relinearize_rescale(&sum),
        }
    }
}

impl Evaluator<'_> {
    /// A sum of terms, in integers.
    fn combination<'c>(
        &self,
        scale: &ExactScale,
        terms: &[Term<'c, Ciphertext>],
        constant: f64,
    ) -> Result<Combination<'c>, EvalError> {
        let source = |term: &Term<'c, Ciphertext>| {
            Ok((term.value, self.scaled_integer(term.coefficient, &term.ratio)?))
        };
        let sources = terms.iter().map(source).collect::<Result<Vec<_>, EvalError>>()?;
        Ok(Combination { sources, constant: self.scaled_integer(constant, scale)? })
    }

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
