//! How a polynomial is evaluated under encryption: which Chebyshev polynomials are computed, and
//! how the result is put together from them. Passes ask it for costs, the runtime follows it.
//!
//! Baby-step giant-step in the Chebyshev basis (Paterson and Stockmeyer, SIAM J. Comput. 1973; Han
//! and Ki, ePrint 2019/688, for the basis; Bossuat et al., ePrint 2020/1203, section 5, for depth
//! and scales). A polynomial is split by a giant step `T_g` into `q T_g + r`; the quotient is a
//! polynomial of its own one level up, the remainder is split further, until what is left is a
//! combination of the basis elements at hand. Depth is optimal, `ceil(log2(degree + 1))`: `T_k` is
//! ready `ceil(log2 k)` levels below the operand, a combination of ready elements is taken *at the
//! level of the products it is added to*, and both are rescaled together.
//!
//! Relinearisation is lazy: the products of one node are summed as they are, three polynomials
//! each, and the sum is relinearised once. Of all bases of the form *babies up to m of one parity,
//! and powers of two*, and all splittings by their elements, the cheapest is taken, in units of
//! about the cost of a product: 1 per product, 4 per rescaling, 16 per relinearisation (transforms
//! at 10 to 20 limbs; the result hardly depends on these numbers).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use crate::params::Params;
use crate::polynomial::Polynomial;
use crate::scale::Level;

/// `T_index = 2 T_left T_right - T_(left - right)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BasisElement {
    /// Its degree, at least 2.
    pub index: usize,
    /// The larger factor's degree.
    pub left: usize,
    /// The smaller factor's degree; equal for a square.
    pub right: usize,
}

/// Levels between the operand and `T_index`.
pub fn basis_depth(index: usize) -> u32 {
    index.max(1).next_power_of_two().trailing_zeros()
}

/// `sum_j quotient_j T_(giant_j) + sum_k c_k T_k`, rescaled.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Products with basis elements.
    pub products: Vec<Product>,
    /// `(k, c_k)` with `c_k` not zero, `k` ascending; 0 is the constant.
    pub terms: Vec<(usize, f64)>,
}

/// One product of a [`Node`].
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// Degree of the basis element.
    pub giant: usize,
    /// The other factor, one level above the product before its rescaling.
    pub quotient: Node,
}

/// Numbers of operations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpCounts {
    /// Products of ciphertexts.
    pub products: usize,
    /// Relinearisations: one key switch each.
    pub relinearizations: usize,
    /// Rescalings of ciphertexts of size 2.
    pub rescales: usize,
    /// Basis elements times coefficients, in sums.
    pub terms: usize,
}

/// Evaluation scheme of one polynomial.
#[derive(Clone, Debug, PartialEq)]
pub struct PolynomialShape {
    /// Elements beyond `T_0` and `T_1`, each after those it is made from.
    pub basis: Vec<BasisElement>,
    /// The polynomial. It is summed up `depth - 1` levels below the operand, and rescaled to
    /// `depth`.
    pub root: Node,
    /// Levels used.
    pub depth: u32,
}

const PRODUCT: u32 = 1;
const RESCALE: u32 = 4;
const RELINEARIZE: u32 = 16;

impl PolynomialShape {
    /// The cheapest scheme for `polynomial` over `[-1, 1]`. Constants have depth 0 and nothing to
    /// compute.
    pub fn new(polynomial: &Polynomial) -> Self {
        let coefficients = polynomial.coefficients();
        let depth = polynomial.depth();
        let Some(steps) = depth.checked_sub(1) else {
            let terms = coefficients.iter().map(|&c| (0, c)).collect();
            return PolynomialShape { basis: Vec::new(), root: Node { products: Vec::new(), terms }, depth };
        };
        let support = Support::of(coefficients);
        let indices = cheapest_basis(&support, polynomial.degree(), depth);
        let root = Search::new(&indices, &support, steps).build(support, coefficients.to_vec(), steps);
        let basis = needed_basis(&root, &indices);
        PolynomialShape { basis, root, depth }
    }

    /// Operations in all.
    pub fn counts(&self) -> OpCounts {
        self.counts_by_depth().into_iter().fold(OpCounts::default(), |sum, c| OpCounts {
            products: sum.products + c.products,
            relinearizations: sum.relinearizations + c.relinearizations,
            rescales: sum.rescales + c.rescales,
            terms: sum.terms + c.terms,
        })
    }

    /// Operations at each level from the operand's downwards; a rescaling counts at the level it
    /// leaves.
    pub fn counts_by_depth(&self) -> Vec<OpCounts> {
        let mut counts = vec![OpCounts::default(); self.depth as usize];
        for element in &self.basis {
            let at = &mut counts[basis_depth(element.index) as usize - 1];
            at.products += 1;
            at.relinearizations += 1;
            at.rescales += 1;
        }
        fn visit(node: &Node, depth: usize, counts: &mut [OpCounts]) {
            counts[depth].products += node.products.len();
            counts[depth].relinearizations += usize::from(!node.products.is_empty());
            counts[depth].rescales += 1;
            counts[depth].terms += node.terms.iter().filter(|&&(k, _)| k > 0).count();
            for product in &node.products {
                visit(&product.quotient, depth - 1, counts);
            }
        }
        if let Some(steps) = self.depth.checked_sub(1) {
            visit(&self.root, steps as usize, &mut counts);
        }
        counts
    }

    /// Basis elements, 1 included, each with the depths below the operand that it is used at.
    pub fn uses(&self) -> BTreeSet<(usize, u32)> {
        let mut uses = BTreeSet::new();
        for &BasisElement { index, left, right } in &self.basis {
            uses.extend([left, right, left - right].map(|k| (k, basis_depth(index) - 1)));
        }
        fn visit(node: &Node, depth: u32, uses: &mut BTreeSet<(usize, u32)>) {
            uses.extend(node.terms.iter().map(|&(k, _)| (k, depth)));
            if node.products.is_empty() && node.terms.iter().all(|&(k, _)| k == 0) {
                // A constant is a ciphertext nevertheless.
                uses.insert((1, depth));
            }
            for Product { giant, quotient } in &node.products {
                uses.insert((*giant, depth));
                visit(quotient, depth - 1, uses);
            }
        }
        if let Some(steps) = self.depth.checked_sub(1) {
            visit(&self.root, steps, &mut uses);
        }
        uses.retain(|&(k, _)| k > 0);
        uses
    }

    /// Basis elements of an operand at `level` that lack primes at a level that they are used at,
    /// each with such a level: they must be brought there first, by a division.
    pub fn copies(&self, params: &Params, level: Level) -> BTreeSet<(usize, Level)> {
        if (level.saturating_sub(self.depth as Level)..level).all(|below| params.nests(below + 1, below)) {
            return BTreeSet::new();
        }
        let at = |depth: u32| level - depth as Level;
        let uses = self.uses().into_iter();
        uses.filter(|&(k, depth)| !params.nests(at(basis_depth(k)), at(depth)))
            .map(|(k, depth)| (k, at(depth)))
            .collect()
    }
}

/// Sets of degrees to try as bases. Every set contains 1, and with `k` two elements that it is made
/// from.
fn candidate_bases(degree: usize, depth: u32) -> BTreeSet<BTreeSet<usize>> {
    let mut candidates = BTreeSet::new();
    let largest_baby = degree.min(2 << depth.div_ceil(2));
    for powers in 0..depth {
        for step in [1, 2] {
            for baby in 1..=largest_baby {
                // Step 1: 1, 2, ..., baby. Step 2: 1 and those with the parity of `baby`.
                let mut basis = BTreeSet::from([1]);
                (0..=powers).for_each(|log| insert_closed(&mut basis, 1 << log));
                (1..=baby).filter(|k| (baby - k) % step == 0).for_each(|k| insert_closed(&mut basis, k));
                candidates.insert(basis);
            }
        }
    }
    candidates
}

/// Bases by support and depth: a network has dozens of polynomials of a few kinds, and searches for
/// high degrees took half of the time of a compile.
static BASES: Mutex<BTreeMap<(Support, u32), Arc<BTreeSet<usize>>>> = Mutex::new(BTreeMap::new());

/// So many kinds are remembered: files may hold any number.
const MOST_BASES: usize = 1 << 10;

/// The basis of the cheapest scheme for polynomials with coefficients of these degrees, whatever
/// they are: what cancels by chance is not looked at, so all of one kind have one basis.
fn cheapest_basis(support: &Support, degree: usize, depth: u32) -> Arc<BTreeSet<usize>> {
    let key = (support.clone(), depth);
    // A panic leaves a map of whole entries.
    let bases = || BASES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = bases().get(&key) {
        return known.clone();
    }
    let steps = depth - 1;
    let mut coefficients = vec![0.0; degree + 1];
    support.iter().for_each(|k| coefficients[k] = 1.0 + (k as f64 + 1.0).sqrt().fract());
    let mut best: Option<(u32, BTreeSet<usize>)> = None;
    for indices in candidate_bases(degree, depth) {
        let mut search = Search::new(&indices, support, steps);
        if search.node_cost(support, steps).is_none() {
            continue;
        }
        let root = search.build(support.clone(), coefficients.clone(), steps);
        let basis = needed_basis(&root, &indices);
        let counts = PolynomialShape { basis, root, depth }.counts();
        let cost = PRODUCT * counts.products as u32
            + RESCALE * counts.rescales as u32
            + RELINEARIZE * counts.relinearizations as u32;
        if best.as_ref().is_none_or(|(least, _)| cost < *least) {
            best = Some((cost, indices));
        }
    }
    let (_, indices) = best.expect("splitting by powers of two alone always succeeds");
    let indices = Arc::new(indices);
    let mut bases = bases();
    if bases.len() >= MOST_BASES {
        bases.clear();
    }
    bases.insert(key, indices.clone());
    indices
}

fn insert_closed(basis: &mut BTreeSet<usize>, index: usize) {
    if index > 1 && factors(basis, index).is_none() {
        insert_closed(basis, index / 2);
        insert_closed(basis, index.div_ceil(2));
    }
    basis.insert(index);
}

/// Elements that `T_index` is made from at optimal depth, if the basis has them: the closest pair.
fn factors(basis: &BTreeSet<usize>, index: usize) -> Option<(usize, usize)> {
    (index.div_ceil(2)..index).map(|left| (left, index - left)).find(|&(left, right)| {
        let has = |k| k == 0 || basis.contains(&k);
        has(left) && has(right) && has(left - right) && basis_depth(left) < basis_depth(index)
    })
}

/// The elements of `indices` that evaluating `root` needs, in ascending order.
fn needed_basis(root: &Node, indices: &BTreeSet<usize>) -> Vec<BasisElement> {
    fn collect(node: &Node, used: &mut BTreeSet<usize>) {
        used.extend(node.terms.iter().map(|&(k, _)| k));
        for product in &node.products {
            used.insert(product.giant);
            collect(&product.quotient, used);
        }
    }
    let mut open = BTreeSet::new();
    collect(root, &mut open);
    let mut made = BTreeMap::new();
    while let Some(index) = open.pop_last() {
        if index > 1 && !made.contains_key(&index) {
            let (left, right) = factors(indices, index).expect("bases are closed");
            made.insert(index, BasisElement { index, left, right });
            open.extend([left, right, left - right]);
        }
    }
    made.into_values().collect()
}

/// Set of degrees with a coefficient, as bits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Support(Vec<u64>);

impl Support {
    fn of(coefficients: &[f64]) -> Self {
        let mut support = Support(vec![0; coefficients.len().div_ceil(64)]);
        coefficients.iter().enumerate().filter(|(_, c)| **c != 0.0).for_each(|(k, _)| support.insert(k));
        support
    }

    fn insert(&mut self, k: usize) {
        self.0[k / 64] |= 1 << (k % 64);
    }

    fn remove(&mut self, k: usize) {
        self.0[k / 64] &= !(1 << (k % 64));
    }

    fn has(&self, k: usize) -> bool {
        self.0.get(k / 64).is_some_and(|word| word >> (k % 64) & 1 == 1)
    }

    fn is_within(&self, other: &Support) -> bool {
        self.0.iter().zip(&other.0).all(|(own, other)| own & !other == 0)
    }

    fn top(&self) -> Option<usize> {
        let word = self.0.iter().rposition(|&word| word != 0)?;
        Some(64 * word + 63 - self.0[word].leading_zeros() as usize)
    }

    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..64 * self.0.len()).filter(|&k| self.has(k))
    }

    /// Supports of quotient and remainder of the division by `T_giant`, without cancellation.
    fn divide(&self, giant: usize) -> (Support, Support) {
        let (mut quotient, mut rest) = (Support(vec![0; self.0.len()]), self.clone());
        while let Some(top) = rest.top().filter(|&top| top >= giant) {
            rest.remove(top);
            quotient.insert(top - giant);
            if top > giant {
                rest.insert(top.abs_diff(2 * giant));
            }
        }
        (quotient, rest)
    }
}

/// Coefficients of quotient and remainder of the division by `T_giant`: `T_i = 2 T_(i-g) T_g -
/// T_|i-2g|`.
fn divide(mut coefficients: Vec<f64>, giant: usize) -> (Vec<f64>, Vec<f64>) {
    let mut quotient = vec![0.0; coefficients.len() - giant];
    for i in (giant..coefficients.len()).rev() {
        let c = std::mem::take(&mut coefficients[i]);
        if i == giant {
            quotient[0] += c;
        } else {
            quotient[i - giant] += 2.0 * c;
            coefficients[i.abs_diff(2 * giant)] -= c;
        }
    }
    (quotient, coefficients)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Everything is a term.
    Leaf,
    /// The top coefficient is a term.
    Peel,
    /// Split by this element.
    Split(usize),
}

/// Dynamic programming over `(support, level)` for one basis.
struct Search<'a> {
    basis: &'a BTreeSet<usize>,
    /// By depth: the elements that are there, and 0, the constant.
    ready: Vec<Support>,
    memo: HashMap<(Support, u32), Option<(u32, Step)>>,
}

impl<'a> Search<'a> {
    /// For nodes of coefficients no higher than `support` has, up to `steps` levels below the
    /// operand.
    fn new(basis: &'a BTreeSet<usize>, support: &Support, steps: u32) -> Self {
        let at = |depth: u32| {
            let mut ready = Support(vec![0; support.0.len()]);
            let there = basis.iter().filter(|&&k| k / 64 < support.0.len() && basis_depth(k) <= depth);
            there.chain([&0]).for_each(|&k| ready.insert(k));
            ready
        };
        Search { basis, ready: (0..=steps).map(at).collect(), memo: HashMap::new() }
    }

    fn is_leaf(&self, support: &Support, depth: u32) -> bool {
        support.is_within(&self.ready[depth as usize])
    }

    /// Cost of a node summed up `depth` levels below the operand, rescaling included.
    fn node_cost(&mut self, support: &Support, depth: u32) -> Option<u32> {
        let (content, step) = self.content(support, depth)?;
        Some(content + RESCALE + if step == Step::Leaf { 0 } else { RELINEARIZE })
    }

    /// Cost of the products of a node, and what to do first.
    fn content(&mut self, support: &Support, depth: u32) -> Option<(u32, Step)> {
        if self.is_leaf(support, depth) {
            return Some((0, Step::Leaf));
        }
        let key = (support.clone(), depth);
        if let Some(&known) = self.memo.get(&key) {
            return known;
        }
        let top = support.top().unwrap_or(0);
        let mut best: Option<(u32, Step)> = None;
        let mut offer = |cost: Option<u32>, step| {
            if let Some(cost) = cost
                && best.is_none_or(|(least, _)| cost < least)
            {
                best = Some((cost, step));
            }
        };
        if self.ready[depth as usize].has(top) {
            let mut rest = support.clone();
            rest.remove(top);
            offer(self.content(&rest, depth).map(|(cost, _)| cost), Step::Peel);
        }
        if depth > 0 {
            let basis = self.basis;
            for &giant in basis.range(..top).rev().filter(|&&giant| basis_depth(giant) <= depth) {
                // The quotient's degree decides feasibility before anything is divided.
                if top - giant >= 1 << depth {
                    continue;
                }
                let (quotient, rest) = support.divide(giant);
                let cost = self.node_cost(&quotient, depth - 1).and_then(|quotient| {
                    let (rest, _) = self.content(&rest, depth)?;
                    Some(PRODUCT + quotient + rest)
                });
                offer(cost, Step::Split(giant));
            }
        }
        self.memo.insert(key, best);
        best
    }

    /// The node of these coefficients. Decisions follow the support, as the search did, whatever
    /// cancels.
    fn build(&mut self, mut support: Support, mut coefficients: Vec<f64>, depth: u32) -> Node {
        let mut node = Node::default();
        loop {
            let (_, step) = self.content(&support, depth).expect("only feasible nodes are built");
            match step {
                Step::Leaf => break,
                Step::Peel => {
                    let top = support.top().unwrap_or(0);
                    support.remove(top);
                    node.terms.push((top, std::mem::take(&mut coefficients[top])));
                }
                Step::Split(giant) => {
                    let (quotient, rest) = divide(coefficients, giant);
                    let (quotient_support, rest_support) = support.divide(giant);
                    let quotient = self.build(quotient_support, quotient, depth - 1);
                    node.products.push(Product { giant, quotient });
                    (support, coefficients) = (rest_support, rest);
                }
            }
        }
        node.terms.extend(coefficients.into_iter().enumerate());
        node.terms.retain(|&(_, c)| c != 0.0);
        node.terms.sort_by_key(|&(k, _)| k);
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn polynomial(degree: usize, keep: impl Fn(usize) -> bool) -> Polynomial {
        let coefficient = |k: usize| ((k * 7919 + 13) % 1009) as f64 / 504.5 - 1.001;
        let coefficients = (0..=degree).map(|k| if keep(k) { coefficient(k) } else { 0.0 }).collect();
        Polynomial::chebyshev(coefficients, [-1.0, 1.0]).unwrap()
    }

    fn eval(shape: &PolynomialShape, x: f64) -> f64 {
        let mut basis = BTreeMap::from([(0, 1.0), (1, x)]);
        for &BasisElement { index, left, right } in &shape.basis {
            basis.insert(index, 2.0 * basis[&left] * basis[&right] - basis[&(left - right)]);
        }
        fn node(n: &Node, basis: &BTreeMap<usize, f64>) -> f64 {
            let terms = n.terms.iter().map(|(k, c)| c * basis[k]).sum::<f64>();
            terms + n.products.iter().map(|p| node(&p.quotient, basis) * basis[&p.giant]).sum::<f64>()
        }
        node(&shape.root, &basis)
    }

    /// Every basis element must be ready where it is used.
    fn check_depths(node: &Node, depth: u32) {
        assert!(node.terms.iter().all(|&(k, _)| basis_depth(k) <= depth));
        for product in &node.products {
            assert!(basis_depth(product.giant) <= depth);
            check_depths(&product.quotient, depth - 1);
        }
    }

    #[test]
    fn shapes_evaluate_their_polynomial_at_optimal_depth() {
        let parities: [fn(usize) -> bool; 4] =
            [|_| true, |k| k % 2 == 1, |k| k % 2 == 0, |k| k % 2 == 0 || k == 1];
        for degree in (1..=64).chain([100, 126, 127, 128, 255]) {
            for (index, keep) in parities.into_iter().enumerate() {
                let p = polynomial(degree, keep);
                let shape = PolynomialShape::new(&p);
                assert_eq!(shape.depth, p.depth());
                if shape.depth > 0 {
                    check_depths(&shape.root, shape.depth - 1);
                }
                for i in -10..=10 {
                    let x = f64::from(i) / 10.0;
                    let bound = 1e-14 * (degree * degree + 10) as f64;
                    assert!((eval(&shape, x) - p.eval(x)).abs() < bound, "degree {degree}, parity {index}");
                }
            }
        }
    }

    /// The odd baby-step giant-step algorithm of the literature takes as many products as the last
    /// number says, each with a relinearisation. Lazy relinearisation saves one in eight at least;
    /// degree 9 and degrees 25 on buy relinearisations with one or two more products.
    #[test]
    fn counts_of_odd_polynomials() {
        let expected = [
            (3, [2, 2, 3], 2),
            (5, [3, 3, 4], 3),
            (7, [5, 4, 6], 5),
            (9, [6, 4, 7], 5),
            (11, [6, 5, 7], 6),
            (13, [7, 6, 8], 7),
            (15, [8, 7, 9], 8),
            (19, [8, 6, 9], 8),
            (23, [9, 8, 10], 9),
            (27, [11, 8, 12], 10),
            (31, [13, 10, 14], 12),
        ];
        for (degree, [products, relinearizations, rescales], literature) in expected {
            let counts = PolynomialShape::new(&polynomial(degree, |k| k % 2 == 1)).counts();
            let terms = counts.terms;
            assert_eq!(counts, OpCounts { products, relinearizations, rescales, terms }, "degree {degree}");
            assert!((1..=degree.div_ceil(2)).contains(&terms), "degree {degree}: {terms} terms");
            assert!(relinearizations <= literature && (degree < 7 || relinearizations < literature));
        }
    }

    /// `x / 2` plus an even polynomial, the single-polynomial ReLU, costs little more than half of
    /// a full one.
    #[test]
    fn sparse_supports_are_exploited() {
        let counts = |keep: fn(usize) -> bool| PolynomialShape::new(&polynomial(127, keep)).counts();
        let [full, relu] = [counts(|_| true), counts(|k| k % 2 == 0 && k < 127 || k == 1)];
        assert_eq!((full.relinearizations, relu.relinearizations), (20, 16));
    }
}
