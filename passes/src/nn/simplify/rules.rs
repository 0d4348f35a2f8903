//! The rewrites, each with both sides visible. All are equalities of exact arithmetic.
//!
//! A rule whose right side has new attributes or that holds only under a condition computes them
//! from the match; returning nothing leaves the term as it is.

use egg::{Applier, ENodeOrVar, Id, Language, Pattern, PatternAst, Rewrite, Subst, Symbol, Var};
use fhec_ir::tensor::element_count;

use super::language::{
    AttrValue, Facts, Geometry, Graph, Term, Window, add_attr, attr, is_one, is_zero, shape,
};

/// Folding a pool or convolution into a neighbour saves a level and may cost weights; beyond this
/// many times those of both it is not worth it.
const MAX_KERNEL_GROWTH: usize = 4;
/// Dense weights made by folding have at most this many elements.
const MAX_DENSE_ELEMENTS: usize = 1 << 22;

type Rule = Rewrite<Term, Facts>;
type New = Vec<(&'static str, AttrValue)>;

/// All rules.
pub fn all() -> Vec<Rule> {
    let mut rules = affine();
    rules.extend(linear());
    rules.extend(movement());
    rules.extend(constants());
    rules
}

/// Per-channel factors and shifts: batch normalisation, scalar arithmetic, biases.
fn affine() -> Vec<Rule> {
    vec![
        rule(
            "affine-of-affine",
            "(affine (affine ?x ?s ?t) ?u ?v)",
            "(affine ?x (times ?s ?u) (plus (times ?t ?u) ?v))",
            always,
        ),
        rule("affine-identity", "(affine ?x ?s ?t)", "?x", |g, m| {
            (is_one(g, m.at("?s")) && is_zero(g, m.at("?t"))).then(Vec::new)
        }),
        rule(
            "affine-after-conv",
            "(affine (conv ?g ?x ?w ?b) ?s ?t)",
            "(conv ?g ?x (scale-outputs ?w ?s) (plus (times ?b ?s) ?t))",
            always,
        ),
        rule(
            "affine-after-dense",
            "(affine (dense ?x ?w ?b) ?s ?t)",
            "(dense ?x (scale-outputs ?w ?s) (plus (times ?b ?s) ?t))",
            always,
        ),
        rule(
            "affine-before-dense",
            "(dense (affine ?x ?s ?t) ?w ?b)",
            "(dense ?x (scale-inputs ?w ?s) (plus ?b (sum-inputs ?w ?t)))",
            always,
        ),
        // At a border the shift would be missing where the convolution reads pads.
        rule(
            "affine-before-conv",
            "(conv ?g (affine ?x ?s ?t) ?w ?b)",
            "(conv ?g ?x (scale-inputs ?w ?s) (plus ?b (sum-inputs ?w ?t)))",
            |g, m| (is_zero(g, m.at("?t")) || m.geometry(g, "?g").pads == [0; 4]).then(Vec::new),
        ),
        rule("affine-before-pool", "(pool ?p (affine ?x ?s ?t))", "(affine (pool ?p ?x) ?s ?t)", |g, m| {
            (is_zero(g, m.at("?t")) || m.window(g, "?p").keeps_constants()).then(Vec::new)
        }),
        rule("affine-after-pool", "(affine (pool ?p ?x) ?s ?t)", "(pool ?p (affine ?x ?s ?t))", |g, m| {
            (is_zero(g, m.at("?t")) || m.window(g, "?p").keeps_constants()).then(Vec::new)
        }),
        rule("affine-before-pad", "(pad ?p (affine ?x ?s ?t))", "(affine (pad ?p ?x) ?s ?t)", |g, m| {
            is_zero(g, m.at("?t")).then(Vec::new)
        }),
        rule(
            "affine-before-reshape",
            "(reshape ?r (affine ?x ?s ?t))",
            "(affine (reshape ?r ?x) (repeat ?n ?s) (repeat ?n ?t))",
            |g, m| {
                // Channel c of [N, C, ...] becomes channels c n to c n + n - 1 of [N, C n, ...].
                let (from, to) = (shape(g, m.at("?x")), m.shape_attr(g, "?r"));
                if from.len() < 2 || to.len() < 2 || from[0] != to[0] || from[1] == 0 {
                    return None;
                }
                let count = to[1] / from[1];
                (count > 0 && count * from[1] == to[1]).then(|| vec![("?n", AttrValue::Count(count))])
            },
        ),
        rule(
            "affine-after-add",
            "(affine (add ?x ?y) ?s ?t)",
            "(add (affine ?x ?s ?t) (affine ?y ?s (zeros-like ?t)))",
            always,
        ),
    ]
}

/// Convolutions, pools and dense layers that follow one another.
fn linear() -> Vec<Rule> {
    vec![
        rule(
            "dense-after-dense",
            "(dense (dense ?x ?v ?a) ?w ?b)",
            "(dense ?x (compose ?w ?v) (plus ?b (sum-inputs ?w ?a)))",
            |g, m| {
                let (inner, outer) = (shape(g, m.at("?v")), shape(g, m.at("?w")));
                let merged = outer[0].saturating_mul(inner[1]);
                (merged <= MAX_DENSE_ELEMENTS
                    && merged <= MAX_KERNEL_GROWTH * (outer[0] * outer[1] + inner[0] * inner[1]))
                    .then(Vec::new)
            },
        ),
        rule(
            "pool-before-dense",
            "(dense (reshape ?r (pool ?p ?x)) ?w ?b)",
            "(dense (reshape ?f ?x) (unpool-columns ?w ?p ?s) ?b)",
            flattened,
        ),
        rule(
            "conv-before-dense",
            "(dense (reshape ?r (conv ?g ?x ?k ?a)) ?w ?b)",
            "(dense (reshape ?f ?x) (unconvolve-columns ?w ?k ?g ?s) (plus ?b (sum-inputs ?w (repeat ?n ?a))))",
            |g, m| {
                let columns = shape(g, m.at("?w"))[1];
                let channels = shape(g, m.at("?k"))[0];
                let mut new = flattened(g, m)?;
                new.push(("?n", AttrValue::Count(columns / channels)));
                Some(new)
            },
        ),
        rule(
            "pool-before-conv",
            "(conv ?g (pool ?p ?x) ?w ?b)",
            "(conv ?h ?x (spread-kernel ?w ?p ?g) ?b)",
            |g, m| {
                let (geometry, window) = (m.geometry(g, "?g"), m.window(g, "?p"));
                let [_, _, h, w] = *shape(g, m.at("?x")) else { return None };
                // The zeros that the convolution pads with are windows of zeros around the pool's
                // operand, if windows tile it; without pads any unpadded windows will do.
                if !(window.tiles([h, w]) || window.pads == [0; 4] && geometry.pads == [0; 4]) {
                    return None;
                }
                let [sy, sx] = window.strides;
                let [top, left, bottom, right] = geometry.pads;
                let merged = Geometry {
                    strides: [geometry.strides[0] * sy, geometry.strides[1] * sx],
                    pads: [top * sy, left * sx, bottom * sy, right * sx],
                    dilations: [1, 1],
                    groups: geometry.groups,
                };
                let [_, _, kh, kw] = *shape(g, m.at("?w")) else { return None };
                let span = |k: usize, i: usize| {
                    (k - 1) * window.strides[i] * geometry.dilations[i] + window.kernel[i]
                };
                grows_little(kh * kw, window, span(kh, 0) * span(kw, 1))?;
                Some(vec![("?h", AttrValue::Geometry(merged))])
            },
        ),
        rule(
            "pool-after-conv",
            "(pool ?p (conv ?g ?x ?w ?b))",
            "(conv ?h ?x (pool-kernel ?w ?g ?p) ?b)",
            |g, m| {
                let (geometry, window) = (m.geometry(g, "?g"), m.window(g, "?p"));
                if window.pads != [0; 4] {
                    return None;
                }
                let merged = Geometry {
                    strides: [
                        geometry.strides[0] * window.strides[0],
                        geometry.strides[1] * window.strides[1],
                    ],
                    dilations: [1, 1],
                    ..geometry
                };
                let [_, _, kh, kw] = *shape(g, m.at("?w")) else { return None };
                let span = |k: usize, i: usize| {
                    (k - 1) * geometry.dilations[i] + 1 + (window.kernel[i] - 1) * geometry.strides[i]
                };
                grows_little(kh * kw, window, span(kh, 0) * span(kw, 1))?;
                Some(vec![("?h", AttrValue::Geometry(merged))])
            },
        ),
        rule("pool-of-pool", "(pool ?q (pool ?p ?x))", "(pool ?r ?x)", |g, m| {
            let (outer, inner) = (m.window(g, "?q"), m.window(g, "?p"));
            let [_, _, h, w] = *shape(g, m.at("?x")) else { return None };
            if outer.pads != [0; 4] || !inner.tiles([h, w]) {
                return None;
            }
            let along = |i: usize| {
                let step = inner.strides[i];
                (outer.kernel[i] * step, outer.strides[i] * step)
            };
            let ((kh, sh), (kw, sw)) = (along(0), along(1));
            Some(vec![("?r", AttrValue::Window(Window { kernel: [kh, kw], strides: [sh, sw], ..outer }))])
        }),
    ]
}

/// Pads, reshapes and transposes.
fn movement() -> Vec<Rule> {
    vec![
        rule("pad-before-conv", "(conv ?g (pad ?p ?x) ?w ?b)", "(conv ?h ?x ?w ?b)", |g, m| {
            let geometry = m.geometry(g, "?g");
            let pads = m.pads(g, "?p");
            let merged = Geometry { pads: std::array::from_fn(|i| geometry.pads[i] + pads[i]), ..geometry };
            Some(vec![("?h", AttrValue::Geometry(merged))])
        }),
        rule("pad-before-pool", "(pool ?q (pad ?p ?x))", "(pool ?r ?x)", |g, m| {
            let window = m.window(g, "?q");
            (window.pads == [0; 4]).then(|| {
                let merged = Window { pads: m.pads(g, "?p"), count_include_pad: true, ..window };
                vec![("?r", AttrValue::Window(merged))]
            })
        }),
        rule("pad-of-pad", "(pad ?q (pad ?p ?x))", "(pad ?r ?x)", |g, m| {
            let (outer, inner) = (m.pads(g, "?q"), m.pads(g, "?p"));
            Some(vec![("?r", AttrValue::Pads(std::array::from_fn(|i| outer[i] + inner[i])))])
        }),
        rule("pad-identity", "(pad ?p ?x)", "?x", |g, m| (m.pads(g, "?p") == [0; 4]).then(Vec::new)),
        rule("pool-identity", "(pool ?p ?x)", "?x", |g, m| {
            let window = m.window(g, "?p");
            (window.kernel == [1, 1] && window.strides == [1, 1] && window.pads == [0; 4]).then(Vec::new)
        }),
        rule("reshape-of-reshape", "(reshape ?r (reshape ?q ?x))", "(reshape ?r ?x)", always),
        rule("reshape-identity", "(reshape ?r ?x)", "?x", |g, m| {
            (shape(g, m.at("?x")) == m.shape_attr(g, "?r")).then(Vec::new)
        }),
        rule("transpose-of-transpose", "(transpose ?q (transpose ?p ?x))", "(transpose ?r ?x)", |g, m| {
            let (outer, inner) = (m.permutation(g, "?q"), m.permutation(g, "?p"));
            Some(vec![("?r", AttrValue::Permutation(outer.iter().map(|&i| inner[i]).collect()))])
        }),
        rule("transpose-identity", "(transpose ?p ?x)", "?x", |g, m| {
            m.permutation(g, "?p").iter().enumerate().all(|(i, &p)| i == p).then(Vec::new)
        }),
        rule("transpose-as-reshape", "(transpose ?p ?x)", "(reshape ?r ?x)", |g, m| {
            let (from, permutation) = (shape(g, m.at("?x")), m.permutation(g, "?p"));
            let to = permutation.iter().map(|&axis| from[axis]).collect();
            keeps_order(permutation, from).then(|| vec![("?r", AttrValue::Shape(to))])
        }),
        rule(
            "transpose-before-dense",
            "(dense (reshape ?r (transpose ?p ?x)) ?w ?b)",
            "(dense (reshape ?f ?x) (unpermute-columns ?w ?p ?s) ?b)",
            |g, m| {
                let permutation = m.permutation(g, "?p");
                if permutation.first() != Some(&0) || keeps_order(permutation, shape(g, m.at("?x"))) {
                    return None;
                }
                flattened(g, m)
            },
        ),
    ]
}

/// Constants that change nothing.
fn constants() -> Vec<Rule> {
    vec![
        rule("times-one", "(times ?a ?b)", "?a", |g, m| is_one(g, m.at("?b")).then(Vec::new)),
        rule("one-times", "(times ?a ?b)", "?b", |g, m| is_one(g, m.at("?a")).then(Vec::new)),
        rule("plus-zero", "(plus ?a ?b)", "?a", |g, m| is_zero(g, m.at("?b")).then(Vec::new)),
        rule("zero-plus", "(plus ?a ?b)", "?b", |g, m| is_zero(g, m.at("?a")).then(Vec::new)),
        rule("scale-outputs-one", "(scale-outputs ?w ?s)", "?w", |g, m| is_one(g, m.at("?s")).then(Vec::new)),
        rule("scale-inputs-one", "(scale-inputs ?w ?s)", "?w", |g, m| is_one(g, m.at("?s")).then(Vec::new)),
        rule("repeat-once", "(repeat ?n ?a)", "?a", |g, m| {
            (*attr(g, m.at("?n")) == AttrValue::Count(1)).then(Vec::new)
        }),
    ]
}

/// For a dense layer that reads a flattened tensor made from `?x`: `?f` flattens `?x` itself, `?s`
/// is its shape.
fn flattened(graph: &Graph, m: &Match<'_>) -> Option<New> {
    let from = shape(graph, m.at("?x"));
    let (batch, rest) = from.split_first()?;
    let columns = element_count(rest)?;
    let merged = shape(graph, m.at("?w"))[0].checked_mul(columns)?;
    // Flattening must have kept the batch apart.
    let flat = m.shape_attr(graph, "?r");
    if flat.len() != 2 || flat[0] != *batch || merged > MAX_DENSE_ELEMENTS {
        return None;
    }
    let f = AttrValue::Shape(vec![*batch, columns]);
    Some(vec![("?f", f), ("?s", AttrValue::Shape(from.to_vec()))])
}

/// Whether a transpose only moves dimensions of length 1, so that elements stay in order.
fn keeps_order(permutation: &[usize], shape: &[usize]) -> bool {
    permutation.iter().filter(|&&axis| shape[axis] != 1).is_sorted()
}

/// Whether a merged kernel of `merged` taps is worth a level.
fn grows_little(taps: usize, window: Window, merged: usize) -> Option<()> {
    (merged <= MAX_KERNEL_GROWTH * (taps + window.kernel[0] * window.kernel[1])).then_some(())
}

/// No condition, no new attributes.
fn always(_: &Graph, _: &Match<'_>) -> Option<New> {
    Some(Vec::new())
}

/// What the variables of a left side matched.
struct Match<'a>(&'a Subst);

impl Match<'_> {
    fn at(&self, variable: &str) -> Id {
        self.0[variable.parse::<Var>().expect("rules name variables")]
    }

    fn geometry(&self, graph: &Graph, variable: &str) -> Geometry {
        match attr(graph, self.at(variable)) {
            AttrValue::Geometry(geometry) => *geometry,
            other => panic!("expected a geometry, found {other:?}"),
        }
    }

    fn window(&self, graph: &Graph, variable: &str) -> Window {
        match attr(graph, self.at(variable)) {
            AttrValue::Window(window) => *window,
            other => panic!("expected a window, found {other:?}"),
        }
    }

    fn pads(&self, graph: &Graph, variable: &str) -> [usize; 4] {
        match attr(graph, self.at(variable)) {
            AttrValue::Pads(pads) => *pads,
            other => panic!("expected pads, found {other:?}"),
        }
    }

    fn permutation<'g>(&self, graph: &'g Graph, variable: &str) -> &'g [usize] {
        match attr(graph, self.at(variable)) {
            AttrValue::Permutation(permutation) => permutation,
            other => panic!("expected a permutation, found {other:?}"),
        }
    }

    fn shape_attr<'g>(&self, graph: &'g Graph, variable: &str) -> &'g [usize] {
        match attr(graph, self.at(variable)) {
            AttrValue::Shape(shape) => shape,
            other => panic!("expected a shape, found {other:?}"),
        }
    }
}

/// Builds the right side with what `compute` adds to the match.
///
/// A term that is equal to one of its own operands (an identity, or a factor that meets zeros)
/// would let rules fire through it without end; they never do.
struct Computed {
    left: PatternAst<Term>,
    right: Pattern<Term>,
    compute: fn(&Graph, &Match<'_>) -> Option<New>,
}

impl Applier<Term, Facts> for Computed {
    fn apply_one(
        &self,
        graph: &mut Graph,
        class: Id,
        subst: &Subst,
        searcher: Option<&PatternAst<Term>>,
        name: Symbol,
    ) -> Vec<Id> {
        if goes_through_identity(graph, &self.left, subst) {
            return Vec::new();
        }
        let Some(new) = (self.compute)(graph, &Match(subst)) else { return Vec::new() };
        let mut subst = subst.clone();
        for (variable, value) in new {
            let id = add_attr(graph, value);
            subst.insert(variable.parse().expect("rules name variables"), id);
        }
        self.right.apply_one(graph, class, &subst, searcher, name)
    }
}

/// Whether a matched term is in the class of one of its operands. Terms that stand for that class
/// alone are what identity rules match; for those the left side is one op deep.
fn goes_through_identity(graph: &Graph, left: &PatternAst<Term>, subst: &Subst) -> bool {
    let mut classes: Vec<Option<Id>> = Vec::new();
    let mut ops = 0;
    let mut found = false;
    for node in left {
        classes.push(match node {
            ENodeOrVar::Var(variable) => Some(graph.find(subst[*variable])),
            ENodeOrVar::ENode(term) => {
                ops += 1;
                let operands: Option<Vec<Id>> =
                    term.children().iter().map(|&child| classes[usize::from(child)]).collect();
                let class = operands.as_ref().and_then(|operands| {
                    let mut next = operands.iter();
                    let term = term.clone().map_children(|_| *next.next().expect("one per operand"));
                    graph.lookup(term)
                });
                found |= class.is_some_and(|class| operands.is_some_and(|ids| ids.contains(&class)));
                class
            }
        });
    }
    found && ops > 1
}

fn rule(name: &str, left: &str, right: &str, compute: fn(&Graph, &Match<'_>) -> Option<New>) -> Rule {
    let pattern = |text: &str| text.parse::<Pattern<Term>>().expect("rules are well formed");
    let left = pattern(left);
    let applier = Computed { left: left.ast.clone(), right: pattern(right), compute };
    Rewrite::new(name, left, applier).expect("rules are well formed")
}
