//! Small ONNX models built in memory.

// Each test file uses a part of these.
#![allow(dead_code)]

use fhec_compiler::onnx::{self, ImportError, ImportOptions, Imported};
use fhec_ir::interp;
use fhec_ir::tensor::Tensor;
use fhec_ir::verify::verify;
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_proto::DataType;
use onnx_protobuf::tensor_shape_proto::{Dimension, dimension};
use onnx_protobuf::{
    AttributeProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, type_proto,
};
use protobuf::Message;

/// A model of opset `opset` with the input `x` of shape `shape` (0 for an open dimension) and the
/// output `y`.
pub fn model(opset: i64, shape: &[i64]) -> ModelProto {
    let mut model = ModelProto { ir_version: 8, producer_name: "test".into(), ..Default::default() };
    model.opset_import.push(OperatorSetIdProto { version: opset, ..Default::default() });
    let graph = model.graph.mut_or_insert_default();
    graph.name = "test".into();
    graph.input.push(value_info("x", DataType::FLOAT, shape));
    graph.output.push(ValueInfoProto { name: "y".into(), ..Default::default() });
    model
}

pub fn value_info(name: &str, element: DataType, shape: &[i64]) -> ValueInfoProto {
    let dim = |&size: &i64| Dimension {
        value: Some(match size {
            0 => dimension::Value::DimParam("open".into()),
            size => dimension::Value::DimValue(size),
        }),
        ..Default::default()
    };
    let shape = TensorShapeProto { dim: shape.iter().map(dim).collect(), ..Default::default() };
    let tensor =
        type_proto::Tensor { elem_type: element as i32, shape: Some(shape).into(), ..Default::default() };
    let ty = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() };
    ValueInfoProto { name: name.into(), type_: Some(ty).into(), ..Default::default() }
}

/// Appends a node.
pub fn node<'m>(model: &'m mut ModelProto, op: &str, inputs: &[&str], outputs: &[&str]) -> &'m mut NodeProto {
    let nodes = &mut model.graph.mut_or_insert_default().node;
    nodes.push(NodeProto {
        op_type: op.into(),
        name: format!("{op}_{}", nodes.len()),
        input: inputs.iter().map(|name| name.to_string()).collect(),
        output: outputs.iter().map(|name| name.to_string()).collect(),
        ..Default::default()
    });
    nodes.last_mut().unwrap()
}

/// An attribute value.
pub enum Value {
    Int(i64),
    Ints(Vec<i64>),
    Float(f32),
    Floats(Vec<f32>),
    Text(&'static str),
}

/// Appends an attribute to a node.
pub fn attr(node: &mut NodeProto, name: &str, value: Value) {
    let mut proto = AttributeProto { name: name.into(), ..Default::default() };
    proto.type_ = match value {
        Value::Int(value) => {
            proto.i = value;
            AttributeType::INT
        }
        Value::Ints(values) => {
            proto.ints = values;
            AttributeType::INTS
        }
        Value::Float(value) => {
            proto.f = value;
            AttributeType::FLOAT
        }
        Value::Floats(values) => {
            proto.floats = values;
            AttributeType::FLOATS
        }
        Value::Text(text) => {
            proto.s = text.into();
            AttributeType::STRING
        }
    }
    .into();
    node.attribute.push(proto);
}

pub fn floats(name: &str, shape: &[i64], data: &[f32]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: shape.to_vec(),
        data_type: DataType::FLOAT as i32,
        float_data: data.to_vec(),
        ..Default::default()
    }
}

pub fn ints(name: &str, shape: &[i64], data: &[i64]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: shape.to_vec(),
        data_type: DataType::INT64 as i32,
        int64_data: data.to_vec(),
        ..Default::default()
    }
}

/// A stored tensor of unsigned bytes.
pub fn bytes(name: &str, shape: &[i64], data: &[i32]) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: shape.to_vec(),
        data_type: DataType::UINT8 as i32,
        int32_data: data.to_vec(),
        ..Default::default()
    }
}

/// Adds an initializer.
pub fn store(model: &mut ModelProto, tensor: TensorProto) {
    model.graph.mut_or_insert_default().initializer.push(tensor);
}

pub fn import(model: &ModelProto) -> Result<Imported, ImportError> {
    onnx::import_bytes(&model.write_to_bytes().unwrap(), None, &ImportOptions::default())
}

/// Imports and runs a model; shape and elements of its first output.
pub fn run(model: &ModelProto, x: &[f32]) -> (Vec<usize>, Vec<f32>) {
    let imported = import(model).unwrap();
    verify(&imported.func).unwrap();
    let input = imported.func.inputs()[0];
    let x = Tensor::new(imported.func.ty(input).shape.clone(), x.to_vec()).unwrap();
    let output = interp::nn::run(&imported.func, &[x]).unwrap().remove(0);
    (output.shape().to_vec(), output.data().to_vec())
}

/// A small network with everything in it: convolution, batch normalisation, pooling, shape
/// arithmetic, gemm.
pub fn small_network() -> ModelProto {
    let mut m = model(9, &[0, 1, 6, 6]);
    let ramp = |n: usize| (0..n).map(|i| (i % 7) as f32 / 7.0 - 0.4).collect::<Vec<f32>>();
    store(&mut m, floats("kernel", &[4, 1, 3, 3], &ramp(36)));
    store(&mut m, floats("bias", &[4], &ramp(4)));
    for (name, data) in
        [("scale", [1.0f32; 4]), ("shift", [0.1; 4]), ("mean", [0.2; 4]), ("variance", [0.9; 4])]
    {
        store(&mut m, floats(name, &[4], &data));
    }
    store(&mut m, floats("weight", &[3, 36], &ramp(108)));
    store(&mut m, floats("offset", &[3], &ramp(3)));
    store(&mut m, ints("zero", &[], &[0]));
    store(&mut m, ints("rest", &[1], &[-1]));
    let conv = node(&mut m, "Conv", &["x", "kernel", "bias"], &["c"]);
    attr(conv, "pads", Value::Ints(vec![1, 1, 1, 1]));
    attr(conv, "kernel_shape", Value::Ints(vec![3, 3]));
    node(&mut m, "BatchNormalization", &["c", "scale", "shift", "mean", "variance"], &["n"]);
    node(&mut m, "Relu", &["n"], &["r"]);
    let pool = node(&mut m, "MaxPool", &["r"], &["p"]);
    attr(pool, "kernel_shape", Value::Ints(vec![2, 2]));
    attr(pool, "strides", Value::Ints(vec![2, 2]));
    node(&mut m, "Shape", &["p"], &["s"]);
    node(&mut m, "Gather", &["s", "zero"], &["g"]);
    let unsqueeze = node(&mut m, "Unsqueeze", &["g"], &["u"]);
    attr(unsqueeze, "axes", Value::Ints(vec![0]));
    let concat = node(&mut m, "Concat", &["u", "rest"], &["t"]);
    attr(concat, "axis", Value::Int(0));
    node(&mut m, "Reshape", &["p", "t"], &["f"]);
    let gemm = node(&mut m, "Gemm", &["f", "weight", "offset"], &["y"]);
    attr(gemm, "transB", Value::Int(1));
    m
}
