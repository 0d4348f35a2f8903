//! Networks that end before the model's outputs, and the errors that say where.

mod onnx_models;

use fhec_compiler::onnx::{self, ImportError, ImportOptions, Imported};
use onnx_models::*;
use onnx_protobuf::ModelProto;
use onnx_protobuf::tensor_proto::DataType;
use protobuf::Message;

fn ending_at(model: &ModelProto, ends: &[&str]) -> Result<Imported, ImportError> {
    let end_at = ends.iter().map(|name| name.to_string()).collect();
    let options = ImportOptions { end_at, ..ImportOptions::default() };
    onnx::import_bytes(&model.write_to_bytes().unwrap(), None, &options)
}

fn refusal(model: &ModelProto, ends: &[&str]) -> String {
    ending_at(model, ends).unwrap_err().to_string()
}

/// What a training leaves: classes, and their comparison with those that were expected.
fn with_accuracy() -> ModelProto {
    let mut m = model(13, &[1, 2]);
    let labels = value_info("labels", DataType::FLOAT, &[1, 3]);
    m.graph.mut_or_insert_default().input.push(labels);
    store(&mut m, floats("w", &[2, 3], &[1.0, 0.0, 2.0, 0.0, 1.0, 3.0]));
    node(&mut m, "MatMul", &["x", "w"], &["logits"]);
    for (from, to) in [("logits", "class"), ("labels", "expected")] {
        attr(node(&mut m, "ArgMax", &[from], &[to]), "axis", Value::Int(1));
    }
    node(&mut m, "Equal", &["class", "expected"], &["right"]);
    attr(node(&mut m, "Cast", &["right"], &["y"]), "to", Value::Int(DataType::FLOAT as i64));
    m
}

#[test]
fn a_network_ends_at_any_tensor_with_what_it_needs_up_to_there() {
    let m = with_accuracy();
    let imported = ending_at(&m, &["class", "logits"]).unwrap();
    assert_eq!(imported.outputs, ["class", "logits"]);
    assert_eq!((imported.inputs, imported.input_limits), (vec!["x".to_string()], vec![None]));
    let func = imported.func;
    assert_eq!((func.inputs().len(), func.ops().len()), (1, 2));
    let names: Vec<_> = func.outputs().iter().map(|&output| func.value_name(output).unwrap()).collect();
    assert_eq!(names, ["class", "logits"]);
    // Inputs that the outputs do not need stay where the network ends as the model says.
    let mut aside = m;
    aside.graph.mut_or_insert_default().output[0].name = "logits".into();
    assert_eq!(import(&aside).unwrap().inputs, ["x", "labels"]);
}

#[test]
fn an_end_is_a_tensor_of_a_node_that_depends_on_an_input() {
    let mut m = with_accuracy();
    store(&mut m, floats("two", &[], &[2.0]));
    node(&mut m, "Sqrt", &["two"], &["constant"]);
    for (ends, reason) in [
        (&["nowhere"][..], "`nowhere`: no node computes it; the model's outputs are `y`"),
        (&["x"], "`x`: no node computes it"),
        (&["class", "class"], "`class`: it is given twice"),
        (&["constant"], "`constant`: it depends on no input"),
    ] {
        let message = refusal(&m, ends);
        assert!(message.contains(reason), "{message}");
    }
}

#[test]
fn an_operator_after_the_last_layer_says_where_to_end() {
    // Not at the labels, which no layer has seen.
    let message = refusal(&with_accuracy(), &[]);
    assert!(message.ends_with("; or end the network before this node: --end-at class"), "{message}");

    let mut boxes = model(13, &[1, 2]);
    store(&mut boxes, floats("w", &[2, 3], &[1.0; 6]));
    store(&mut boxes, ints("k", &[1], &[1]));
    node(&mut boxes, "MatMul", &["x", "w"], &["scores"]);
    node(&mut boxes, "TopK", &["scores", "k"], &["best", "places"]);
    node(&mut boxes, "Relu", &["best"], &["y"]);
    let message = refusal(&boxes, &[]);
    assert!(message.contains("; or end the network before this node: --end-at scores. Supp"), "{message}");
    // In front of a layer it is a part of the network.
    store(&mut boxes, floats("v", &[1, 1], &[1.0]));
    boxes.graph.mut_or_insert_default().node.pop();
    node(&mut boxes, "MatMul", &["best", "v"], &["y"]);
    assert!(!refusal(&boxes, &[]).contains("--end-at"));
}
