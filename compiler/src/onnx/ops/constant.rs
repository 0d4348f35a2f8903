//! Constant, ConstantOfShape, Cast.

use onnx_protobuf::tensor_proto::DataType;

use super::super::error::ImportError;
use super::super::literal::{Elements, Literal, Operand, integer_count};
use super::super::node::{Node, constant};
use super::super::tensor::{data_type, integer_limits, is_float};

type Outputs = Result<Vec<Operand>, ImportError>;

pub(super) fn constant_op(node: &mut Node<'_>) -> Outputs {
    let scalar = |literal: Literal| Literal { shape: Vec::new(), ..literal };
    let floats = |values: Vec<f32>| Literal {
        name: String::new(),
        shape: vec![values.len()],
        elements: Elements::Float(values.into()),
    };
    let literal = if let Some(literal) = node.tensor("value")? {
        // Errors are to name it by the node's output, not by what the attribute's tensor may be
        // called.
        Literal { name: String::new(), ..literal }
    } else if node.has_attr("value_float") {
        scalar(floats(vec![node.number_or("value_float", 0.0)? as f32]))
    } else if let Some(values) = node.float_list("value_floats")? {
        floats(values)
    } else if let Some(value) = node.int("value_int")? {
        scalar(Literal::ints(vec![value]))
    } else if let Some(values) = node.int_list("value_ints")? {
        Literal::ints(values)
    } else {
        return Err(node.unsupported("a constant that is no tensor of numbers", "store it as a dense tensor"));
    };
    Ok(vec![constant(literal)])
}

pub(super) fn constant_of_shape(node: &mut Node<'_>) -> Outputs {
    let shape = node.ints(0, "shape")?;
    let shape: Result<Vec<usize>, _> = shape.iter().map(|&d| usize::try_from(d)).collect();
    let shape = shape.map_err(|_| node.invalid("the shape has a negative dimension"))?;
    let value = node.tensor("value")?;
    if value.as_ref().is_some_and(|value| value.len() != 1) {
        return Err(node.invalid("the value must have one element"));
    }
    let elements = match value.map(|value| value.elements) {
        Some(Elements::Int(value)) => {
            let count = integer_count(&shape).map_err(|reason| node.invalid(reason))?;
            Elements::Int(vec![value[0]; count])
        }
        value => {
            let count = shape.iter().try_fold(1usize, |count, &d| count.checked_mul(d));
            let count = count.ok_or_else(|| node.invalid("the shape has too many elements"))?;
            node.reserve(count)?;
            let value = if let Some(Elements::Float(value)) = value { value[0] } else { 0.0 };
            Elements::Float(vec![value; count].into())
        }
    };
    Ok(vec![constant(Literal { name: String::new(), shape, elements })])
}

/// Constants change their type. Variables are `f32` whatever the model calls them, and those that
/// are integers already stay as they are.
pub(super) fn cast(node: &mut Node<'_>) -> Outputs {
    node.ignore(&["saturate", "round_mode"]);
    let to = node.int("to")?.ok_or_else(|| node.invalid("the target type is missing"))?;
    let to = i32::try_from(to).map_err(|_| node.invalid(format!("unknown element type {to}")))?;
    let to = data_type(to).map_err(|reason| node.invalid(reason))?;
    let x = node.input(0)?;
    let literal = match &x {
        Operand::Constant(literal) => literal,
        Operand::Variable(value) => {
            let within = |[low, high]: [i64; 2]| {
                integer_limits(to).is_some_and(|[least, most]| least <= low && high <= most)
            };
            return match is_float(to) || node.emitter.integers(*value).is_some_and(within) {
                true => Ok(vec![x]),
                false => Err(node.unsupported(
                    format!("a cast of the network's values to {to:?}"),
                    "only constants may become integers",
                )),
            };
        }
    };
    let elements = convert(&literal.elements, to).map_err(|reason| node.invalid(reason))?;
    Ok(vec![constant(Literal { name: String::new(), shape: literal.shape.clone(), elements })])
}

fn convert(elements: &Elements, to: DataType) -> Result<Elements, String> {
    if is_float(to) {
        return Ok(match elements {
            Elements::Float(values) => Elements::Float(values.clone()),
            Elements::Int(values) => Elements::Float(values.iter().map(|&v| v as f32).collect()),
        });
    }
    if to == DataType::BOOL {
        let truth: Vec<i64> = match elements {
            Elements::Float(values) => values.iter().map(|&v| i64::from(v != 0.0)).collect(),
            Elements::Int(values) => values.iter().map(|&v| i64::from(v != 0)).collect(),
        };
        return Ok(Elements::Int(truth));
    }
    let [low, high] = integer_limits(to).ok_or_else(|| format!("casts to {to:?} are not supported"))?;
    let truncated = |v: f32| v.is_finite().then(|| v.trunc() as i64).filter(|&t| t as f32 == v.trunc());
    let values: Option<Vec<i64>> = match elements {
        Elements::Float(values) => values.iter().map(|&v| truncated(v)).collect(),
        Elements::Int(values) => Some(values.clone()),
    };
    let in_range = |values: &Vec<i64>| values.iter().all(|v| (low..=high).contains(v));
    let values = values.filter(in_range).ok_or_else(|| format!("a constant does not fit into {to:?}"))?;
    Ok(Elements::Int(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn casts_truncate_and_refuse_what_does_not_fit() {
        let floats = Elements::Float(vec![1.9, -1.9, 0.0].into());
        assert_eq!(convert(&floats, DataType::INT64), Ok(Elements::Int(vec![1, -1, 0])));
        assert_eq!(convert(&floats, DataType::BOOL), Ok(Elements::Int(vec![1, 1, 0])));
        assert!(convert(&floats, DataType::UINT8).is_err());
        assert!(convert(&Elements::Float(vec![f32::NAN].into()), DataType::INT32).is_err());
        assert!(convert(&Elements::Float(vec![1e30].into()), DataType::INT64).is_err());
        assert_eq!(convert(&Elements::Int(vec![3]), DataType::FLOAT), Ok(Elements::Float(vec![3.0].into())));
        assert!(convert(&Elements::Int(vec![300]), DataType::INT8).is_err());
    }
}
