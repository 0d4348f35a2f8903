//! Models that `fhec compile` refuses, through the binary: one message that names what is wrong,
//! and no file.

mod binary;

#[path = "../../compiler/tests/onnx_models/mod.rs"]
mod onnx_models;

use std::fs;
use std::path::Path;

use onnx_models::*;
use onnx_protobuf::{ModelProto, NodeProto};
use protobuf::Message;

use binary::fhec;

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// Compiles `model`, which must fail with all of `parts` in the message, and leave the model alone
/// in its folder.
fn refused(model: &ModelProto, arguments: &[&str], parts: &[&str]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (path, out) = (folder.path().join("net.onnx"), folder.path().join("net.fhec"));
    fs::write(&path, model.write_to_bytes().expect("a model")).expect("it is written");
    let output = fhec(&[&["compile", text(&path), "-o", text(&out)], arguments].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(!errors.contains("panicked") && output.stdout.is_empty(), "{errors}");
    let messages: Vec<&str> = errors.lines().filter(|line| line.starts_with("error: ")).collect();
    let [message] = messages[..] else { panic!("one message was expected: {errors}") };
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
}

/// A window of 36 taps that are apart, with pads around values of any sign.
fn long_pool(pool: &mut NodeProto) {
    attr(pool, "kernel_shape", Value::Ints(vec![6, 6]));
    attr(pool, "dilations", Value::Ints(vec![2, 2]));
    attr(pool, "pads", Value::Ints(vec![1; 4]));
}

#[test]
fn max_pools_are_named_with_what_can_be_lowered() {
    let mut m = model(13, &[1, 2, 12, 12]);
    long_pool(node(&mut m, "MaxPool", &["x"], &["features/pooled"]));
    node(&mut m, "Relu", &["features/pooled"], &["y"]);
    refused(
        &m,
        &[],
        &[
            "cannot lower the node `MaxPool_0` (MaxPool), which computes the tensor `features/pooled`",
            "leave the pads out or put a ReLU before it",
            "what can be lowered: Conv",
        ],
    );
}

/// Where several ops stand for a node, and where nodes were folded into another, messages still
/// name a node of the model.
#[test]
fn what_cannot_be_lowered_names_the_node_of_the_model() {
    let mut m = model(13, &[1, 2, 4, 4]);
    node(&mut m, "Add", &["x", "x"], &["sum"]);
    node(&mut m, "Sigmoid", &["sum"], &["gate"]).name = "head/gate".into();
    node(&mut m, "MatMul", &["sum", "gate"], &["y"]).name = "head/product".into();
    refused(
        &m,
        &[],
        &["the node `head/product` (MatMul), which computes the tensor `y`", "encrypted matrices"],
    );

    // A node without a name is called by its output, as when it is imported.
    let mut m = model(13, &[1, 2, 12, 12]);
    let pool = node(&mut m, "MaxPool", &["x"], &["top"]);
    long_pool(pool);
    pool.name = String::new();
    node(&mut m, "Flatten", &["top"], &["y"]);
    refused(&m, &[], &["the node `top` (MaxPool)"]);
}

/// `y = x W` after a flattening: compiles in no time.
fn dense(channels: i64) -> ModelProto {
    let mut m = model(13, &[1, channels, 2, 2]);
    let inputs = 4 * channels;
    let weights: Vec<f32> = (0..3 * inputs).map(|i| i as f32 / 100.0).collect();
    store(&mut m, floats("w", &[inputs, 3], &weights));
    node(&mut m, "Flatten", &["x"], &["flat"]);
    node(&mut m, "MatMul", &["flat", "w"], &["y"]);
    m
}

#[test]
fn means_and_deviations_are_one_or_one_per_channel() {
    for (channels, numbers, found) in [(3, "0.5,0.5", "2 numbers"), (1, "0.1,0.2,0.3", "3 numbers")] {
        let arguments = ["--mean", numbers, "--std", numbers];
        let needed = format!("but {channels} channels need {channels}");
        // No dimension but that of channels has as many.
        let mut m = model(13, &[1, channels, 5, 7]);
        node(&mut m, "Relu", &["x"], &["y"]);
        refused(&m, &arguments, &["net.onnx", "mean", found, &needed]);
    }
}

#[test]
fn batches_and_volumes_are_named_with_their_shapes() {
    for shape in [&[2, 3, 4, 4][..], &[1, 2, 3, 4, 4]] {
        let mut m = model(13, shape);
        node(&mut m, "Relu", &["x"], &["y"]);
        refused(&m, &[], &[&format!("{shape:?}"), "--input-shape"]);
    }
}

/// A kernel in three dimensions, and a product of two matrices that both depend on the input.
#[test]
fn what_has_no_form_yet_names_node_reason_and_remedy() {
    let mut m = model(13, &[1, 1, 4, 4]);
    store(&mut m, floats("w", &[2, 1, 2, 2, 2], &[0.1; 16]));
    store(&mut m, ints("shape", &[5], &[1, 1, 4, 2, 2]));
    node(&mut m, "Reshape", &["x", "shape"], &["volume"]);
    node(&mut m, "Conv", &["volume", "w"], &["y"]).name = "head/volumes".into();
    refused(&m, &[], &["`head/volumes` (Conv", "a window over 3 dimensions", "slice by slice"]);

    let mut m = model(13, &[1, 2, 4, 4]);
    node(&mut m, "Sigmoid", &["x"], &["gate"]);
    node(&mut m, "MatMul", &["x", "gate"], &["y"]).name = "head/product".into();
    refused(&m, &[], &["the node `head/product` (MatMul)", "encrypted matrices", "a constant"]);
}

#[test]
fn operators_that_are_not_known_are_named_with_those_that_are() {
    let mut m = model(13, &[1, 2, 4, 4]);
    node(&mut m, "Hardmax", &["x"], &["y"]);
    refused(&m, &[], &["cannot import", "Hardmax_0", "train with Relu", "Supported are: Abs, Add"]);
}

#[test]
fn weights_that_are_no_numbers_are_named_with_their_place() {
    for (value, word) in [(f32::NAN, "NaN"), (f32::INFINITY, "inf")] {
        let mut m = dense(1);
        let mut weights = vec![0.5; 12];
        weights[7] = value;
        m.graph.mut_or_insert_default().initializer.clear();
        store(&mut m, floats("w", &[4, 3], &weights));
        refused(&m, &[], &["`w`", word, "7"]);
    }
}

/// A network for images of any size: their shape comes from the command line.
#[test]
fn shapes_that_a_model_leaves_open_are_given() {
    let mut m = model(13, &[0, 1, 0, 0]);
    store(&mut m, floats("w", &[2, 1, 3, 3], &[0.1; 18]));
    node(&mut m, "Conv", &["x", "w"], &["features"]);
    node(&mut m, "GlobalAveragePool", &["features"], &["pooled"]);
    node(&mut m, "Flatten", &["pooled"], &["y"]);
    refused(&m, &[], &["input `x`", "dimension 2", "is open", "--input-shape"]);
    refused(&m, &["--input-shape", "1,8,8"], &["input `x`", "[1, 8, 8]", "4 dimensions"]);
    refused(&m, &["--input-shape", "z=1,1,8,8"], &["`z`", "the inputs are `x`"]);
    refused(&m, &["--input-shape", "1,1,8,8", "--input-shape", "x=1,1,4,4"], &["`x`", "two shapes"]);
    refused(&m, &["--input-shape", "x=1,3,8,8"], &["Conv"]);

    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("net.onnx"), m.write_to_bytes().unwrap()).unwrap();
    for (shape, size) in [("1,1,8,8", 8), ("x=1,1,6,6", 6)] {
        let (model, out) = (path("net.onnx"), path("net.fhec"));
        let output = fhec(&["compile", text(&model), "--input-shape", shape, "-o", text(&out)]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let program = fhec_compiler::program::open(&out, 98).unwrap();
        assert_eq!(fhec_compiler::program::image_shape(&program.interface).unwrap(), [1, size, size]);
    }
    let (model, images) = (path("net.onnx"), path("images.npy"));
    let arguments = ["calibrate", text(&model), "--calibration", text(&images), "--input-shape", "1,8,8"];
    let output = fhec(&arguments);
    assert!(String::from_utf8_lossy(&output.stderr).contains("4 dimensions"));
    // Wrong usage is told by the parser of arguments.
    let output = fhec(&["compile", "net.onnx", "--input-shape", "1x3", "-o", "net.fhec"]);
    assert_eq!(output.status.code(), Some(2));
}
