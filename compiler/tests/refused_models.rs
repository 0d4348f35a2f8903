//! Models that `fhec compile` refuses, through the binary: one message that names what is wrong, and no file.

mod onnx_models;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use onnx_models::*;
use onnx_protobuf::ModelProto;
use protobuf::Message;

fn fhec(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fhec"));
    command.args(arguments).stdin(Stdio::null()).output().expect("fhec starts")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// Compiles `model`, which must fail with all of `parts` in the message, and leave the model alone in its folder.
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

#[test]
fn max_pools_are_named_with_what_can_be_lowered() {
    let mut m = model(13, &[1, 2, 4, 4]);
    let pool = node(&mut m, "MaxPool", &["x"], &["features/pooled"]);
    attr(pool, "kernel_shape", Value::Ints(vec![2, 2]));
    node(&mut m, "Relu", &["features/pooled"], &["y"]);
    refused(
        &m,
        &[],
        &["MaxPool", "`features/pooled`", "train the network with AveragePool", "what can be lowered: Conv"],
    );
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
        refused(&dense(channels), &arguments, &["net.onnx", "mean", found, &needed]);
    }
}

#[test]
fn networks_with_several_outputs_are_named_with_them() {
    let mut m = dense(1);
    node(&mut m, "Relu", &["y"], &["z"]);
    let other = onnx_protobuf::ValueInfoProto { name: "z".into(), ..Default::default() };
    m.graph.mut_or_insert_default().output.push(other);
    refused(&m, &[], &["2 outputs (`y`, `z`)", "only networks with one are run"]);
}

#[test]
fn operators_that_are_not_known_are_named_with_those_that_are() {
    let mut m = model(13, &[1, 2, 4, 4]);
    node(&mut m, "InstanceNormalization", &["x"], &["y"]);
    refused(
        &m,
        &[],
        &["cannot import", "InstanceNormalization_0", "train with BatchNormalization", "Supported are: Add"],
    );
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
