//! Which layer of the network an op of any stage belongs to.
//!
//! Lowering names the last op of what a network's value has become after that value; ops on the way
//! have no name. An op without a name belongs to the layer of the first op that reads its result:
//! bias and folded sums to their convolution, a bootstrap to the op that needs the levels.

use std::collections::BTreeMap;

use crate::entity::Value;
use crate::func::{Func, Stage, StageOp};

/// Layers of a function.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    /// Names, in the order in which the layers are done: of their last ops.
    pub names: Vec<String>,
    /// By op: its layer, as index into the names.
    pub of_op: Vec<usize>,
}

impl Layers {
    /// The layers of `func`. Where no op downstream has a name, the layer is that of the first
    /// operand, or the result's id.
    pub fn of<S: Stage>(func: &Func<S>) -> Self {
        let by_use = by_use(func, |_| true);
        let definitions = func.definitions();
        let mut layers = Layers::default();
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        for (data, name) in func.ops().iter().zip(by_use) {
            let operand = data.op.operands().first().copied();
            let from_operand = || operand.and_then(|operand| layers.of_value(func, &definitions, operand));
            let name = name.or_else(from_operand).unwrap_or_else(|| data.result.to_string());
            let next = known.len();
            let layer = *known.entry(name.clone()).or_insert(next);
            if layer == layers.names.len() {
                layers.names.push(name);
            }
            layers.of_op.push(layer);
        }
        layers.by_last_op()
    }

    /// An op of a layer may run long before the others, as a value on the side is brought to its
    /// level.
    fn by_last_op(self) -> Self {
        let mut last = vec![0; self.names.len()];
        self.of_op.iter().enumerate().for_each(|(op, &layer)| last[layer] = op);
        let mut order: Vec<usize> = (0..self.names.len()).collect();
        order.sort_by_key(|&layer| last[layer]);
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(index, &layer)| place[layer] = index);
        Layers {
            names: order.iter().map(|&layer| self.names[layer].clone()).collect(),
            of_op: self.of_op.iter().map(|&layer| place[layer]).collect(),
        }
    }

    /// The layer that computes `value`, an input's being its name.
    fn of_value<S: Stage>(
        &self,
        func: &Func<S>,
        definitions: &[Option<usize>],
        value: Value,
    ) -> Option<String> {
        match definitions[value.index()] {
            Some(op) => self.of_op.get(op).map(|&layer| self.names[layer].clone()),
            None => func.value_name(value).map(str::to_string),
        }
    }

    /// Name of the layer of op `index`.
    pub fn name(&self, index: usize) -> &str {
        &self.names[self.of_op[index]]
    }
}

/// By op: the first name that is a layer's, of its result or downstream of it along first uses.
pub fn by_use<S: Stage>(func: &Func<S>, is_layer: impl Fn(&str) -> bool) -> Vec<Option<String>> {
    let mut first_use: Vec<Option<usize>> = vec![None; func.value_count()];
    for (index, data) in func.ops().iter().enumerate() {
        for operand in data.op.operands() {
            first_use[operand.index()].get_or_insert(index);
        }
    }
    let mut names: Vec<Option<String>> = vec![None; func.ops().len()];
    for (index, data) in func.ops().iter().enumerate().rev() {
        let own = func.value_name(data.result).filter(|name| is_layer(name)).map(str::to_string);
        names[index] = own.or_else(|| first_use[data.result.index()].and_then(|user| names[user].clone()));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::Packed;
    use crate::text::{ConstSource, parse_func};

    #[test]
    fn ops_belong_to_the_first_name_downstream() {
        let text = r#"func packed layers {
            input %0 : vec<1, 16> "image"
            %1 = rotate(%0) {steps=1}
            %2 = add(%0, %1) "sum"
            %3 = mul_scalar(%2) {factor=0.5}
            %4 = add(%3, %2)
            %5 = rotate(%4) {steps=2} "twice"
            %6 = rotate(%5) {steps=3}
            return %6
        }"#;
        let func: Func<Packed> = parse_func(text, &ConstSource::default()).unwrap();
        let layers = Layers::of(&func);
        assert_eq!(layers.names, ["sum", "twice"]);
        assert_eq!(layers.of_op, [0, 0, 1, 1, 1, 1]);
        // A layer that begins early and ends late comes late.
        let text = r#"func packed layers {
            input %0 : vec<1, 16> "image"
            %1 = rotate(%0) {steps=1}
            %2 = rotate(%0) {steps=2} "inner"
            %3 = add(%1, %2) "outer"
            return %3
        }"#;
        let nested: Func<Packed> = parse_func(text, &ConstSource::default()).unwrap();
        let nested = Layers::of(&nested);
        assert_eq!((nested.names, nested.of_op), (vec!["inner".into(), "outer".into()], vec![1, 0, 1]));
        // Names that are none of the asked ones are passed over.
        let found = by_use(&func, |name| name == "twice");
        assert_eq!(found[..5], vec![Some("twice".to_string()); 5]);
        assert_eq!(found[5], None);
    }
}
