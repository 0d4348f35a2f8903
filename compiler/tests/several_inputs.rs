//! A network with several inputs is compiled as one with their numbers in a row.

mod onnx_models;

use fhec_compiler::build::{Request, from_bytes};
use fhec_compiler::program::reference_outputs;
use fhec_compiler::simulator::Simulator;
use fhec_ir::program::Preprocess;
use fhec_passes::options::CompileOptions;
use onnx_models::*;
use onnx_protobuf::tensor_proto::DataType;
use protobuf::Message;

#[test]
fn two_inputs_are_one_row() {
    let mut network = model(13, &[1, 2, 4, 4]);
    network.graph.mut_or_insert_default().input.push(value_info("age", DataType::FLOAT, &[1, 3]));
    let weight: Vec<f32> = (0..36).map(|i| ((i * 7) % 11) as f32 / 11.0 - 0.5).collect();
    store(&mut network, floats("w", &[2, 2, 3, 3], &weight));
    let dense: Vec<f32> = (0..70).map(|i| ((i * 5) % 13) as f32 / 13.0 - 0.5).collect();
    store(&mut network, floats("d", &[35, 2], &dense));
    let convolution = node(&mut network, "Conv", &["x", "w"], &["c"]);
    attr(convolution, "pads", Value::Ints(vec![1, 1, 1, 1]));
    node(&mut network, "Mul", &["c", "c"], &["square"]);
    node(&mut network, "Flatten", &["square"], &["flat"]);
    attr(node(&mut network, "Concat", &["flat", "age"], &["both"]), "axis", Value::Int(1));
    node(&mut network, "MatMul", &["both", "d"], &["y"]);

    let request = Request::from(CompileOptions::default());
    let bytes = network.write_to_bytes().unwrap();
    let program = from_bytes(&bytes, "two", Preprocess::default(), &request).unwrap().program;
    assert_eq!(
        (program.interface.input.name.as_str(), &program.interface.input.shape),
        ("x+age", &vec![1, 35])
    );
    assert!(program.plan.notes.iter().any(|note| note.contains("2 inputs are one of 35 numbers")));
    let input: Vec<f32> = (0..35).map(|i| ((i * 3) % 17) as f32 / 17.0).collect();
    let expected = reference_outputs(&program, &input).unwrap().remove(0);
    let found = Simulator::new(&program, false).answer(&input, 0).unwrap();
    for (found, expected) in found.logits().iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-2 * expected.abs().max(1.0), "{found} instead of {expected}");
    }
}
