//! Which values of a scheduled program stand for values of the network, and how they are stored.
//!
//! Lowering names the last op of what a network's value has become after that value. Such a value
//! is stored in a layout, in an order of its elements, divided by a factor and, where channels were
//! equalised, by one more per channel. Passes leave orders and factors in the fact
//! [`STORED_VALUES`]; layouts follow from the program.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::ckks::{Ckks, Op};
use crate::entity::Value;
use crate::fact::{INPUT_LAYOUTS, STORED_VALUES};
use crate::func::{Func, StageOp};
use crate::interp::Bundle;
use crate::layout::Layout;
use crate::permutation::Permutation;
use crate::record_attr;

/// In which order a value of the network is stored, if not in its own.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredOrder {
    /// Name of the value in the network.
    pub name: String,
    /// Of its row-major elements.
    pub permutation: Permutation,
}

record_attr!(StoredOrder { name, permutation });

/// How a value of the network is stored: element `e` of channel `c`, in stored order, as `e /
/// (factor * channels[c])`.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredValue {
    /// Name of the value in the network.
    pub name: String,
    /// Divides all elements; positive.
    pub factor: f64,
    /// Divides each channel as well; empty where that is 1. Positive.
    pub channels: Vec<f64>,
    /// The order of its elements, if it is not their own.
    pub permutation: Option<Permutation>,
}

record_attr!(StoredValue { name, factor, channels, permutation });

impl StoredValue {
    /// What element `index` of `count`, row-major, is divided by.
    fn divisor(&self, index: usize, count: usize) -> f64 {
        match self.channels.len() {
            0 => self.factor,
            channels => self.factor * self.channels[index / (count / channels)],
        }
    }
}

/// A value of a program that stands for one of the network.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerValue {
    /// The value of the program.
    pub value: Value,
    /// Where its elements are.
    pub layout: Layout,
    /// What it is called and divided by.
    pub stored: StoredValue,
}

impl LayerValue {
    /// The network's value that `slots` hold, row-major.
    pub fn unpack(&self, slots: &Bundle) -> Vec<f64> {
        let mut elements = self.layout.unpack(slots);
        let count = elements.len();
        elements.iter_mut().enumerate().for_each(|(i, x)| *x *= self.stored.divisor(i, count));
        match &self.stored.permutation {
            Some(permutation) => permutation.inverse().apply(&elements),
            None => elements,
        }
    }

    /// What is stored for the network's value `elements`, row-major; in stored order.
    ///
    /// # Panics
    /// If there are fewer than the layout has.
    pub fn stored(&self, elements: impl IntoIterator<Item = f64>) -> Vec<f64> {
        let count = self.layout.elements();
        let mut elements: Vec<f64> = elements.into_iter().collect();
        if let Some(permutation) = &self.stored.permutation {
            elements = permutation.apply(&elements);
        }
        elements.into_iter().enumerate().map(|(i, x)| x / self.stored.divisor(i, count)).collect()
    }

    /// The slots that hold the network's value `elements`, row-major, in every copy.
    ///
    /// # Panics
    /// If there are not as many as the layout has.
    pub fn pack(&self, elements: impl IntoIterator<Item = f64>) -> Bundle {
        self.layout.pack(&self.stored(elements))
    }
}

/// Why a program's values cannot be read as the network's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the program does not say how it stores the network's values ({0}); compile the model again")]
pub struct LayerValuesError(String);

/// The values of `func` that stand for values of the network, in program order; of those with the
/// same name the last.
pub fn layer_values(func: &Func<Ckks>) -> Result<Vec<LayerValue>, LayerValuesError> {
    let facts: Vec<StoredValue> = func.fact(STORED_VALUES).map_err(|error| LayerValuesError(error.0))?;
    let mut stored: BTreeMap<String, StoredValue> =
        facts.into_iter().map(|fact| (fact.name.clone(), fact)).collect();
    let layouts = layouts(func)?;
    let mut found = Vec::new();
    for data in func.ops().iter().rev() {
        let name = func.value_name(data.result);
        let Some(fact) = name.and_then(|name| stored.remove(name)) else { continue };
        let layout = layouts[data.result.index()].clone();
        let (ty, wrong) =
            (func.ty(data.result), |what: String| LayerValuesError(format!("{} {what}", fact.name)));
        let layout = layout.ok_or_else(|| wrong("has no layout".into()))?;
        layout.validate().map_err(|error| wrong(error.to_string()))?;
        if layout.vectors() != ty.vectors || layout.slots != ty.slots {
            return Err(wrong("has a layout for other ciphertexts".into()));
        }
        let positive = |x: &f64| *x > 0.0 && x.is_finite();
        let whole = fact.channels.is_empty() || layout.elements().is_multiple_of(fact.channels.len());
        if !positive(&fact.factor) || !fact.channels.iter().all(positive) || !whole {
            return Err(wrong("has unusable factors".into()));
        }
        let order = fact.permutation.as_ref().map(|permutation| permutation.check(layout.elements()));
        if let Some(Err(error)) = order {
            return Err(wrong(format!("has no usable order: {error}")));
        }
        found.push(LayerValue { value: data.result, layout, stored: fact });
    }
    found.reverse();
    Ok(found)
}

/// The layout of every value, as far as ops tell: a linear map gives its result one, all others
/// keep that of their first operand.
fn layouts(func: &Func<Ckks>) -> Result<Vec<Option<Layout>>, LayerValuesError> {
    let inputs: Vec<Layout> = func.fact(INPUT_LAYOUTS).map_err(|error| LayerValuesError(error.0))?;
    let mut layouts = vec![None; func.value_count()];
    for (input, layout) in func.inputs().iter().zip(inputs) {
        layouts[input.index()] = Some(layout);
    }
    for data in func.ops() {
        layouts[data.result.index()] = match &data.op {
            Op::LinearMap { map, .. } => Some(map.output.clone()),
            op => op.operands().first().and_then(|operand| layouts[operand.index()].clone()),
        };
    }
    Ok(layouts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{ConstSource, parse_func};

    fn program(facts: &str) -> Func<Ckks> {
        let text = format!(
            r#"func ckks f {{
              meta input_layout = [{{shape=[2, 1, 3], gap=1, multiplex=1, plane=[1, 4], period=8, slots=16}}]
              {facts}
              input %0 : ct<1, 16, 2, D2, 2> "image"
              %1 = mul_scalar(%0) {{factor=0.5}} "half"
              %2 = rescale(%1) "half"
              %3 = add(%2, %2) "other"
              return %3
            }}"#
        );
        parse_func(&text, &ConstSource::default()).unwrap()
    }

    #[test]
    fn values_are_found_by_name_and_read_with_their_factors() {
        let func = program(
            r#"meta stored_values = [{name="gone", factor=1.0, channels=[]}, {name="half", factor=2.0, channels=[1.0, 0.5]}]"#,
        );
        let values = layer_values(&func).unwrap();
        let [half] = values.as_slice() else { panic!("{values:?}") };
        assert_eq!((half.value, half.stored.name.as_str()), (Value::new(2), "half"));
        let elements = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let slots = half.pack(elements);
        assert_eq!(slots[0][..8], [0.5, 1.0, 1.5, 0.0, 4.0, 5.0, 6.0, 0.0]);
        assert_eq!(slots[0][8..], slots[0][..8]);
        assert_eq!(half.unpack(&slots), elements);
    }

    #[test]
    fn elements_are_found_in_stored_order() {
        let func = program(
            r#"meta stored_values = [{name="half", factor=2.0, channels=[1.0, 0.5], permutation={shape=[3, 2], axes=[1, 0]}}]"#,
        );
        let [half] = &layer_values(&func).unwrap()[..] else { panic!("one value") };
        let elements = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(half.pack(elements)[0][..8], [0.5, 1.5, 2.5, 0.0, 2.0, 4.0, 6.0, 0.0]);
        assert_eq!(half.unpack(&half.pack(elements)), elements);
    }

    #[test]
    fn facts_that_make_no_sense_are_refused() {
        let refused = |facts: &str| layer_values(&program(facts)).unwrap_err().to_string();
        assert!(refused("").contains("stored_values"));
        for (factor, channels) in
            [("0.0", "[]"), ("inf", "[]"), ("1.0", "[1.0, -1.0]"), ("1.0", "[1.0, 1.0, 1.0, 1.0]")]
        {
            let facts =
                format!(r#"meta stored_values = [{{name="half", factor={factor}, channels={channels}}}]"#);
            assert!(refused(&facts).contains("half has unusable factors"));
        }
        for order in ["{shape=[3, 2], axes=[1, 1]}", "{shape=[2, 2], axes=[1, 0]}"] {
            let facts = format!(
                r#"meta stored_values = [{{name="half", factor=1.0, channels=[], permutation={order}}}]"#
            );
            assert!(refused(&facts).contains("half has no usable order"));
        }
    }
}
