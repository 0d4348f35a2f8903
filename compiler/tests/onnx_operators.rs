//! Operators against values of onnxruntime, in the forms and operator sets that differ: those that
//! are compositions of others at import, and those that are linear maps of their own.

mod onnx_models;
#[path = "onnx_operators/values.rs"]
mod values;

use onnx_models::*;
use onnx_protobuf::tensor_proto::DataType;
use onnx_protobuf::{ModelProto, TensorProto};

/// One form of an operator, with what onnxruntime computes.
pub(crate) struct Case {
    op: &'static str,
    opset: i64,
    /// Of the first input, `x`.
    shape: &'static [i64],
    /// Whether `x` is positive everywhere.
    positive: bool,
    attributes: &'static [(&'static str, Attribute)],
    /// The other inputs.
    others: &'static [Other],
    /// Shape and elements of each output.
    results: &'static [(&'static [usize], &'static [f32])],
}

/// Value of an attribute.
pub(crate) enum Attribute {
    Int(i64),
    Ints(&'static [i64]),
    Float(f32),
    Floats(&'static [f32]),
    Text(&'static str),
}

/// An input beside the first.
pub(crate) enum Other {
    /// Left out.
    None,
    /// The first input once more.
    Same,
    Floats(&'static [i64], &'static [f32]),
    Ints(DataType, &'static [i64], &'static [i64]),
}

/// The first input, as `operator_values.py` has it.
fn operand(shape: &[i64], positive: bool) -> Vec<f32> {
    let count: i64 = shape.iter().product();
    let offset = if positive { 0.5 } else { -1.25 };
    (0..count).map(|i| ((i * 7 + 3) % 11) as f32 / 4.0 + offset).collect()
}

fn stored(name: &str, other: &Other) -> Option<TensorProto> {
    match *other {
        Other::None | Other::Same => None,
        Other::Floats(shape, data) => Some(floats(name, shape, data)),
        Other::Ints(DataType::INT64, shape, data) => Some(ints(name, shape, data)),
        Other::Ints(ty, shape, data) => Some(TensorProto {
            name: name.into(),
            dims: shape.to_vec(),
            data_type: ty as i32,
            int32_data: data.iter().map(|&v| v as i32).collect(),
            ..Default::default()
        }),
    }
}

/// The model of the case whose output is that at `output`.
fn model_of(case: &Case, output: usize) -> ModelProto {
    let mut m = model(case.opset, case.shape);
    let (mut inputs, mut outputs) = (vec!["x".to_string()], Vec::new());
    for (index, other) in case.others.iter().enumerate() {
        let name = format!("c{index}");
        inputs.push(match other {
            Other::None => String::new(),
            Other::Same => "x".into(),
            _ => name.clone(),
        });
        stored(&name, other).into_iter().for_each(|tensor| store(&mut m, tensor));
    }
    for index in 0..case.results.len() {
        outputs.push(if index == output { "y".to_string() } else { format!("other{index}") });
    }
    let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let proto = node(&mut m, case.op, &inputs, &outputs);
    for (name, value) in case.attributes {
        let value = match *value {
            Attribute::Int(value) => Value::Int(value),
            Attribute::Ints(values) => Value::Ints(values.to_vec()),
            Attribute::Float(value) => Value::Float(value),
            Attribute::Floats(values) => Value::Floats(values.to_vec()),
            Attribute::Text(text) => Value::Text(text),
        };
        attr(proto, name, value);
    }
    m
}

#[test]
fn values_are_those_of_onnxruntime() {
    let mut wrong = Vec::new();
    for (index, case) in values::CASES.iter().enumerate() {
        for (output, (shape, expected)) in case.results.iter().enumerate() {
            let m = model_of(case, output);
            let what = format!("case {index}, {} of opset {}, output {output}", case.op, case.opset);
            if let Err(error) = import(&m) {
                wrong.push(format!("{what}: {error}"));
                continue;
            }
            let (found_shape, found) = run(&m, &operand(case.shape, case.positive));
            let size = expected.iter().fold(1.0f32, |size, v| size.max(v.abs()));
            let close = found.len() == expected.len()
                && found.iter().zip(*expected).all(|(a, b)| (a - b).abs() <= 1e-5 * size);
            if found_shape != *shape || !close {
                wrong.push(format!("{what}: {found_shape:?} {found:?}, expected {shape:?} {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
