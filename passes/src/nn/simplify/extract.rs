//! The cheapest term of each class, with shared terms counted once.
//!
//! Cost is lexicographic: multiplicative depth of the whole, number of ops, number of constant
//! terms. Depth is a maximum over operands, so it is exact; ops are counted over the set of classes
//! a choice uses (greedy extraction over directed acyclic graphs), since trees would count every
//! residual branch twice.

use std::collections::BTreeMap;

use egg::Id;
use fhec_ir::nn::Op;

use super::language::{Graph, Term, children, is_constant, is_one, is_zero};

/// What a term adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    depth: usize,
    ops: usize,
    constants: usize,
}

/// The chosen term of every class.
pub struct Choice {
    chosen: BTreeMap<Id, Chosen>,
}

struct Chosen {
    term: Term,
    depth: usize,
    /// Every class below, this one included, with what its own term adds apart from depth.
    classes: BTreeMap<Id, (usize, usize)>,
    total: (usize, usize),
}

impl Chosen {
    fn cost(&self) -> Cost {
        Cost { depth: self.depth, ops: self.total.0, constants: self.total.1 }
    }
}

impl Choice {
    /// Chooses for all classes of `graph`.
    pub fn cheapest(graph: &Graph) -> Choice {
        let mut ids: Vec<Id> = graph.classes().map(|class| class.id).collect();
        ids.sort_unstable();
        let mut choice = Choice { chosen: BTreeMap::new() };
        loop {
            let mut changed = false;
            for &id in &ids {
                for term in &graph[id].nodes {
                    let Some(candidate) = choice.candidate(graph, id, term) else { continue };
                    let better = match choice.chosen.get(&id) {
                        None => true,
                        Some(current) => {
                            (candidate.cost(), &candidate.term) < (current.cost(), &current.term)
                        }
                    };
                    if better {
                        choice.chosen.insert(id, candidate);
                        changed = true;
                    }
                }
            }
            if !changed {
                return choice;
            }
        }
    }

    /// The term of a class.
    ///
    /// # Panics
    /// If the class is not of the graph.
    pub fn term(&self, id: Id) -> &Term {
        &self.chosen[&id].term
    }

    fn candidate(&self, graph: &Graph, id: Id, term: &Term) -> Option<Chosen> {
        let own = own_cost(graph, term);
        let mut depth = 0;
        let mut classes = BTreeMap::new();
        for &child in children(term) {
            let below = self.chosen.get(&graph.find(child))?;
            if below.classes.contains_key(&id) {
                return None;
            }
            depth = depth.max(below.depth);
            classes.extend(below.classes.iter().map(|(id, cost)| (*id, *cost)));
        }
        classes.insert(id, (own.ops, own.constants));
        let total = classes.values().fold((0, 0), |sum, cost| (sum.0 + cost.0, sum.1 + cost.1));
        Some(Chosen { term: term.clone(), depth: depth + own.depth, classes, total })
    }
}

/// What an activation is taken to cost in levels: the same in all terms of a class, so only its
/// presence matters.
const ACTIVATION_DEPTH: usize = 8;

fn own_cost(graph: &Graph, term: &Term) -> Cost {
    let cost = |depth: usize, ops: usize| Cost { depth, ops, constants: 0 };
    match term {
        Term::Conv(_) | Term::Dense(_) | Term::Pool(_) | Term::Pad(_) | Term::Transpose(_) => cost(1, 1),
        Term::Affine([_, s, t]) => {
            let (scales, shifts) = (usize::from(!is_one(graph, *s)), usize::from(!is_zero(graph, *t)));
            cost(scales, scales + shifts)
        }
        Term::Reshape(_) | Term::Add(_) => cost(0, 1),
        Term::Outputs(_) | Term::Leaf(_) => cost(0, 0),
        Term::Other(op, _) => match &graph.analysis.others[op.0].0 {
            Op::Add { .. } | Op::Sub { .. } | Op::Constant { .. } => cost(0, 1),
            Op::Mul { .. }
            | Op::MatMul { .. }
            | Op::Conv2d { .. }
            | Op::ConvTranspose2d { .. }
            | Op::AxisMatrices { .. }
            | Op::Dense { .. }
            | Op::BatchNorm { .. }
            | Op::AveragePool { .. }
            | Op::ReduceMean { .. }
            | Op::Pad { .. }
            | Op::Concat { .. }
            | Op::Slice { .. }
            | Op::Reshape { .. }
            | Op::Transpose { .. } => cost(1, 1),
            Op::Poly { polynomial, .. } => cost(polynomial.depth() as usize, 1),
            Op::Div { .. }
            | Op::Activation { .. }
            | Op::Softmax { .. }
            | Op::LogSoftmax { .. }
            | Op::ArgMax { .. }
            | Op::MaxPool { .. } => cost(ACTIVATION_DEPTH, 1),
        },
        constant => {
            debug_assert!(children(constant).iter().any(|&id| is_constant(graph, id)));
            Cost { depth: 0, ops: 0, constants: 1 }
        }
    }
}
