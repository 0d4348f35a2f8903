//! `fhec check`: a look at a model takes seconds and says what a compile would.

mod binary;

use std::path::Path;

use binary::fhec;
use serde_json::Value;

fn model(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(name);
    path.to_str().expect("the path is text").to_string()
}

#[test]
fn a_model_is_summed_up_without_a_compile() {
    let output = fhec(&["check", &model("resnet20.onnx"), "--json"]);
    assert!(output.status.success(), "{output:?}");
    let check: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(check["inputs"][0]["shape"], serde_json::json!([1, 3, 32, 32]));
    let of = |op: &str| {
        let kinds = check["kinds"].as_array().expect("a list");
        kinds.iter().find(|kind| kind["op"] == op).map(|kind| kind["count"].as_u64().expect("a count"))
    };
    // 19 convolutions of the main path and two shortcuts; the pool is a part of the dense layer.
    assert_eq!((of("conv2d"), of("relu"), of("add"), of("dense")), (Some(21), Some(19), Some(9), Some(1)));
    // 19 convolutions and ReLUs on the longest way, and the dense layer.
    assert_eq!(check["depth"], 19 * 7 + 1);
    assert_eq!(check["ciphertexts"], 1);
    let text = fhec(&["check", &model("mnist_cnn_deg3.onnx")]);
    let text = String::from_utf8(text.stdout).expect("it is text");
    assert!(text.contains("all ops have a form under encryption") && text.contains("a polynomial"), "{text}");
}

#[test]
fn what_is_no_model_is_refused_as_by_a_compile() {
    let output = fhec(&["check", &model("resnet20.toml")]);
    let error = String::from_utf8(output.stderr).expect("it is text");
    assert_eq!((output.status.code(), error.lines().count()), (Some(1), 1), "{error}");
    assert!(error.starts_with("error: cannot import") && error.contains("resnet20.toml"), "{error}");
}

#[test]
fn a_network_ends_where_it_is_told_to() {
    let checked = |end: &str| fhec(&["check", &model("mnist_cnn_deg3.onnx"), "--json", "--end-at", end]);
    let output = checked("/Flatten_output_0");
    let check: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(check["outputs"][0]["name"], "/Flatten_output_0");
    assert_eq!(check["outputs"][0]["shape"], serde_json::json!([1, 490]));
    let error = String::from_utf8(checked("flat").stderr).expect("it is text");
    assert!(error.contains("cannot end at `flat`") && error.contains("`logits`"), "{error}");
}
