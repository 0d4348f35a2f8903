//! A network of 8 bits whose answers are codes of probabilities, from its file to its answers.

mod onnx_models;

use fhec_compiler::build::{Request, from_bytes};
use fhec_compiler::program::{argmax, reference_outputs};
use fhec_compiler::simulator::Simulator;
use fhec_ir::program::{Affine, Ending, Lists, Preprocess};
use fhec_passes::options::CompileOptions;
use onnx_models::*;
use onnx_protobuf::tensor_proto::DataType;
use onnx_protobuf::{ModelProto, TensorProto};
use protobuf::Message;

/// A dense layer of squares, and codes of 8 bits of its softmax: `step` and -128 for zero.
fn network(step: f32) -> ModelProto {
    let mut m = model(13, &[1, 2, 4, 4]);
    let signed = |name: &str, shape: &[i64], codes: &[i32]| TensorProto {
        data_type: DataType::INT8 as i32,
        ..bytes(name, shape, codes)
    };
    let weights: Vec<i32> = (0..128).map(|i| (i * 37) % 101 - 50).collect();
    store(&mut m, signed("weights", &[32, 4], &weights));
    store(&mut m, floats("weight_step", &[], &[0.01]));
    store(&mut m, floats("step", &[], &[step]));
    store(&mut m, signed("zero", &[], &[-128]));
    node(&mut m, "Mul", &["x", "x"], &["squares"]);
    node(&mut m, "Flatten", &["squares"], &["flat"]);
    node(&mut m, "DequantizeLinear", &["weights", "weight_step"], &["weight"]);
    node(&mut m, "MatMul", &["flat", "weight"], &["logits"]);
    attr(node(&mut m, "Softmax", &["logits"], &["probabilities"]), "axis", Value::Int(1));
    node(&mut m, "QuantizeLinear", &["probabilities", "step", "zero"], &["y"]);
    m
}

#[test]
fn clients_make_the_codes() {
    let request = Request::from(CompileOptions::default());
    let bytes = network(1.0 / 256.0).write_to_bytes().unwrap();
    let program = from_bytes(&bytes, "codes", Preprocess::default(), &request).unwrap().program;
    let codes = Affine { scale: 256.0, offset: -128.0 };
    assert_eq!(program.interface.output().ending, Ending::Softmax(Lists::One, codes));
    assert_eq!(program.plan.bootstraps_softmax, 0);
    let left = "the softmax that makes output y is left to the client, with what becomes of its numbers";
    assert!(program.plan.notes.iter().any(|note| note.contains(left)), "{:?}", program.plan.notes);
    let simulator = Simulator::new(&program, false);
    for image in 0..4 {
        let input: Vec<f32> = (0..32).map(|i| ((i * 3 + image * 11) % 17) as f32 / 17.0).collect();
        let expected = reference_outputs(&program, &input).unwrap().remove(0);
        // All codes together are those of 1, and of four zeros.
        assert!((expected.iter().sum::<f64>() + 4.0 * 128.0 - 256.0).abs() < 1e-3, "{expected:?}");
        let found = simulator.answer(&input, 0).unwrap();
        assert_eq!(argmax(found.logits()), argmax(&expected));
        for (found, expected) in found.logits().iter().zip(&expected) {
            assert!((found - expected).abs() < 0.5, "{found} instead of {expected}");
        }
    }
}
