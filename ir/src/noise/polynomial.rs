//! The error that evaluating a polynomial adds to its value.
//!
//! Every basis element and every node of a [`PolynomialShape`] ends in a rescaling, and a key
//! switch if there is a product in it; each adds an independent error, and reaches the result times
//! the derivative of the result by that element or node. Derivatives are taken backwards, from the
//! result to the operand. Scales are those of the circuit: a basis element has the product of its
//! factors' scales over the prime, a quotient the scale of the sum over that of its giant step
//! (Bossuat et al., ePrint 2020/1203, section 5). They matter where a polynomial ends in a segment
//! of another scale.

use std::collections::{BTreeMap, HashMap};

use super::NoiseModel;
use crate::polynomial_shape::{Node, PolynomialShape, basis_depth};
use crate::scale::Level;

/// The errors inside one evaluation: what does not depend on the operand.
#[derive(Clone, Debug)]
pub struct PolynomialNoise {
    /// In the order of the shape: index, left, right, variance.
    basis: Vec<(usize, usize, usize, f64)>,
    root: NoisyNode,
    /// Basis elements that are brought to a level that does not nest in theirs, that level, and the
    /// variance that this adds.
    copies: BTreeMap<(usize, Level), f64>,
    level: Level,
}

#[derive(Clone, Debug)]
struct NoisyNode {
    /// Degree of the giant step, and the quotient.
    products: Vec<(usize, NoisyNode)>,
    terms: Vec<(usize, f64)>,
    variance: f64,
    /// The level that it is summed up at.
    level: Level,
}

/// A polynomial at one operand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PolynomialAt {
    /// Its value.
    pub value: f64,
    /// Its derivative: what an error of the operand is multiplied by.
    pub slope: f64,
    /// Variance of the error that evaluation adds, in units of the squared message.
    pub variance: f64,
}

impl PolynomialNoise {
    /// Of `shape`, for canonical operands at `level`; the result is canonical, `shape.depth` levels
    /// lower.
    ///
    /// # Panics
    /// If there are not enough levels.
    pub fn new(shape: &PolynomialShape, model: &NoiseModel<'_>, level: Level) -> Self {
        let params = model.params();
        let canonical = |level: Level| params.canonical_scale(level).to_f64();
        let divisor = |level| params.rescale_divisor(level).to_f64();
        let mut scales = HashMap::from([(1, canonical(level))]);
        let basis = shape.basis.iter().map(|element| {
            let at = level - (basis_depth(element.index) as Level - 1);
            let sum = scales[&element.left] * scales[&element.right];
            let scale = sum / divisor(at);
            scales.insert(element.index, scale);
            let variance = model.division(2, scale) + model.key_switch_product(at, sum);
            (element.index, element.left, element.right, variance)
        });
        let basis = basis.collect();
        let out = canonical(level - shape.depth as Level);
        let walk = Walk { model, scales: &scales, level, divisor: &divisor };
        let root = walk.node(&shape.root, shape.depth.saturating_sub(1) as Level, out);
        let copies = shape.copies(params, level).into_iter();
        let copies = copies.map(|(k, to)| ((k, to), model.division(2, scales[&k]))).collect();
        PolynomialNoise { basis, root, copies, level }
    }

    /// Value, derivative and error at `x`.
    pub fn at(&self, x: f64) -> PolynomialAt {
        // By index: a few hundred numbers at most, and predictions ask at hundreds of points.
        let largest = self.basis.iter().map(|element| element.0).fold(1, usize::max);
        let mut values = vec![0.0; largest + 1];
        (values[0], values[1]) = (1.0, x);
        for &(index, left, right, _) in &self.basis {
            values[index] = 2.0 * values[left] * values[right] - values[left - right];
        }
        let slopes = vec![0.0; values.len()];
        let mut back = Back { noise: self, values: &values, slopes, copied: BTreeMap::new(), variance: 0.0 };
        let value = back.node(&self.root, 1.0);
        for &(index, left, right, variance) in self.basis.iter().rev() {
            let slope = back.slope(index);
            back.variance += slope * slope * variance;
            let level = self.level - (basis_depth(index) as Level - 1);
            back.add(left, level, 2.0 * values[right] * slope);
            back.add(right, level, 2.0 * values[left] * slope);
            back.add(left - right, level, -slope);
        }
        let slope = back.slope(1);
        PolynomialAt { value, slope, variance: back.variance }
    }
}

struct Walk<'a, F> {
    model: &'a NoiseModel<'a>,
    scales: &'a HashMap<usize, f64>,
    level: Level,
    divisor: &'a F,
}

impl<F: Fn(Level) -> f64> Walk<'_, F> {
    fn node(&self, node: &Node, depth: Level, target: f64) -> NoisyNode {
        let level = self.level - depth;
        let sum = target * (self.divisor)(level);
        let product = |product: &crate::polynomial_shape::Product| {
            let quotient = self.node(&product.quotient, depth - 1, sum / self.scales[&product.giant]);
            (product.giant, quotient)
        };
        let products: Vec<_> = node.products.iter().map(product).collect();
        let switched = if products.is_empty() { 0.0 } else { self.model.key_switch_product(level, sum) };
        let variance = self.model.division(2, target) + switched;
        NoisyNode { products, terms: node.terms.clone(), variance, level }
    }
}

/// Derivatives of the result, collected backwards.
struct Back<'a> {
    noise: &'a PolynomialNoise,
    values: &'a [f64],
    /// By element, for its uses without a copy.
    slopes: Vec<f64>,
    /// By element and the level of the copy that is used.
    copied: BTreeMap<(usize, Level), f64>,
    variance: f64,
}

impl Back<'_> {
    /// The derivative by a basis element, when all its uses are known; takes the errors of its
    /// copies in.
    fn slope(&mut self, index: usize) -> f64 {
        let mut sum = self.slopes[index];
        for (key, variance) in self.noise.copies.range((index, 0)..=(index, Level::MAX)) {
            let slope = self.copied.get(key).copied().unwrap_or(0.0);
            sum += slope;
            self.variance += slope.powi(2) * variance;
        }
        sum
    }

    fn add(&mut self, index: usize, level: Level, slope: f64) {
        if self.noise.copies.contains_key(&(index, level)) {
            *self.copied.entry((index, level)).or_default() += slope;
        } else {
            self.slopes[index] += slope;
        }
    }

    /// The value of `node`; `slope` is the derivative of the result by it.
    fn node(&mut self, node: &NoisyNode, slope: f64) -> f64 {
        self.variance += slope * slope * node.variance;
        let mut value = 0.0;
        for &(k, coefficient) in &node.terms {
            value += coefficient * self.values[k];
            self.add(k, node.level, coefficient * slope);
        }
        for (giant, quotient) in &node.products {
            let other = self.values[*giant];
            let quotient = self.node(quotient, slope * other);
            self.add(*giant, node.level, slope * quotient);
            value += quotient * other;
        }
        value
    }
}
