//! Placement by named rules: an accounting that yields the 1,149 bootstraps reported in arXiv
//! 2106.07229 for its ResNet-20.
//!
//! **A reconstruction.** The paper gives the total and one sentence, "once in the middle and once
//! at the end" of each ReLU, which taken by its word yields 1,376. These rules, on a program with
//! one channel per ciphertext, a ReLU of blocks of 4, 4 and 5 levels and a product, one level per
//! convolution, and 11 levels between bootstraps, yield the total:
//!
//! | rule | refreshes |
//! |---|---|
//! | `input` | the picture's ciphertexts, which arrive without levels |
//! | `relu` | the operand of a ReLU's polynomial or product that has too few levels left for it |
//! | `block` | the result of a ReLU where a residual block starts or ends: all of them enter their next layer at full level |
//! | `shortcut` | the result of a convolution on a shortcut |
//! | `logits` | the operand of the softmax |
//! | `softmax-exponentials`, `softmax-inverse`, `softmax-probabilities` | the exponentials, what lacks levels in the iteration for the inverse of their sum, and the answers; the paper counts 22 for its softmax, and these are apart from the 1,149 |
//! | `levels` | whatever else has too few levels left |
//!
//! Rules act on ops and levels alone. A ReLU is a product of a value with polynomials of it; a
//! residual sum is one of two ciphertexts; a shortcut's convolution reads what other ops read too
//! and is added; the softmax is named by [`SoftmaxNames`].

use std::collections::BTreeMap;

use fhec_ir::entity::Value;
use fhec_ir::func::Func;
use fhec_ir::packed::{Op, Packed};

use super::{State, Window, distinct, forward};
use crate::nn::softmax::SoftmaxNames;

/// Why a value is refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The picture arrives without levels.
    Input,
    /// A polynomial or the product of a ReLU lacks levels.
    Relu,
    /// The result of the ReLU where a residual block starts or ends.
    Block,
    /// The result of a convolution on a shortcut.
    Shortcut,
    /// The operand of the softmax.
    Logits,
    /// The exponentials of the softmax.
    SoftmaxExponentials,
    /// Something between the exponentials and the answers lacks levels.
    SoftmaxInverse,
    /// The answers of the softmax.
    SoftmaxProbabilities,
    /// Any other op lacks levels.
    Levels,
}

impl Rule {
    /// Its name in plans.
    pub fn name(self) -> &'static str {
        match self {
            Rule::Input => "input",
            Rule::Relu => "relu",
            Rule::Block => "block",
            Rule::Shortcut => "shortcut",
            Rule::Logits => "logits",
            Rule::SoftmaxExponentials => "softmax-exponentials",
            Rule::SoftmaxInverse => "softmax-inverse",
            Rule::SoftmaxProbabilities => "softmax-probabilities",
            Rule::Levels => "levels",
        }
    }

    /// Whether every op that reads the value reads it refreshed, also where its own level would do.
    pub fn always(self) -> bool {
        !matches!(self, Rule::Relu | Rule::SoftmaxInverse | Rule::Levels)
    }
}

/// States of all values, and the rule of each that is refreshed.
pub(super) fn place(
    func: &Func<Packed>,
    live: &[bool],
    window: Window,
) -> (Vec<State>, BTreeMap<Value, Rule>) {
    let shape = Shape::of(func);
    let inputs = func.inputs().iter().map(|&input| (input, Rule::Input));
    let always = func.ops().iter().filter_map(|data| Some((data.result, *shape.always.get(&data.result)?)));
    let mut rules: BTreeMap<Value, Rule> =
        inputs.chain(always).filter(|(value, _)| live[value.index()]).collect();
    let input = State { level: window.bottom, refreshed: Some(window.top), masked: false };
    let states = forward(
        func,
        live,
        window,
        input,
        |value| shape.always.contains_key(&value),
        |operand, result| {
            rules.insert(operand, shape.lacking(result));
        },
    );
    (states, rules)
}

/// What the rules ask of a program.
struct Shape<'a> {
    func: &'a Func<Packed>,
    definitions: Vec<Option<usize>>,
    /// Ops that read each value.
    uses: Vec<usize>,
    /// Whether each value is computed from the softmax's operand.
    in_softmax: Vec<bool>,
    /// Ops of a ReLU: results of its polynomials and of its product.
    in_relu: Vec<bool>,
    always: BTreeMap<Value, Rule>,
}

impl<'a> Shape<'a> {
    fn of(func: &'a Func<Packed>) -> Self {
        let count = func.value_count();
        let mut uses = vec![0; count];
        func.ops().iter().flat_map(|data| distinct(&data.op)).for_each(|value| uses[value.index()] += 1);
        let (in_softmax, in_relu, always) = (vec![false; count], vec![false; count], BTreeMap::new());
        let mut shape = Shape { func, definitions: func.definitions(), uses, in_softmax, in_relu, always };
        shape.find_softmax();
        shape.find_relus();
        shape.find_shortcuts();
        shape
    }

    fn op(&self, value: Value) -> Option<&'a Op> {
        self.definitions[value.index()].map(|index| &self.func.ops()[index].op)
    }

    /// The value before biases were added.
    fn without_bias(&self, mut value: Value) -> Value {
        while let Some(Op::AddPlain { x, .. }) = self.op(value) {
            value = *x;
        }
        value
    }

    fn find_relus(&mut self) {
        for data in self.func.ops() {
            let Op::Mul { x, y } = data.op else { continue };
            // The polynomials that take one factor to the other.
            let chain_to = |end: Value, start: Value| {
                let (mut chain, mut value) = (Vec::new(), end);
                while let Some(Op::Polynomial { x, .. }) = self.op(value) {
                    chain.push(value);
                    value = *x;
                }
                (value == start && !chain.is_empty()).then_some(chain)
            };
            let found = chain_to(y, x).map(|chain| (x, chain)).or_else(|| Some((y, chain_to(x, y)?)));
            let Some((operand, chain)) = found else { continue };
            chain.iter().chain([&data.result]).for_each(|value| self.in_relu[value.index()] = true);
            let ends_a_block = matches!(self.op(self.without_bias(operand)), Some(Op::Add { .. }));
            if ends_a_block || self.uses[data.result.index()] > 1 {
                self.always.insert(data.result, Rule::Block);
            }
        }
    }

    fn find_shortcuts(&mut self) {
        for data in self.func.ops() {
            let Op::Add { x, y } = data.op else { continue };
            if self.in_softmax[data.result.index()] {
                continue;
            }
            for addend in [x, y] {
                if let Some(Op::LinearMap { x: source, .. }) = self.op(self.without_bias(addend))
                    && self.uses[source.index()] > 1
                {
                    self.always.insert(addend, Rule::Shortcut);
                }
            }
        }
    }

    fn find_softmax(&mut self) {
        let Some(names) = SoftmaxNames::of(self.func) else { return };
        self.in_softmax = names.values_after(self.func);
        let rules = [
            (names.logits, Rule::Logits),
            (names.exponentials, Rule::SoftmaxExponentials),
            (names.probabilities, Rule::SoftmaxProbabilities),
        ];
        for data in self.func.ops() {
            let name = self.func.value_name(data.result);
            let rule = rules.iter().find(|(known, _)| name == Some(known));
            self.always.extend(rule.map(|&(_, rule)| (data.result, rule)));
        }
    }

    /// The rule for an operand that lacks levels for the op with this result.
    fn lacking(&self, result: Value) -> Rule {
        match (self.in_softmax[result.index()], self.in_relu[result.index()]) {
            (true, _) => Rule::SoftmaxInverse,
            (false, true) => Rule::Relu,
            (false, false) => Rule::Levels,
        }
    }
}

#[cfg(test)]
mod tests;
