//! The examples do what they say.

#![allow(dead_code, reason = "the examples' own entry points are not called")]

#[path = "../examples/classify.rs"]
mod classify;
#[path = "../examples/client_server.rs"]
mod client_server;
#[path = "../examples/compile.rs"]
mod compile;
#[path = "../examples/rehearse.rs"]
mod rehearse;

use std::path::Path;

#[test]
fn compile_writes_the_files_of_both_parties() {
    let folder = tempfile::tempdir().unwrap();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/mnist_cnn_deg3.onnx");
    compile::run(&model, folder.path()).unwrap();
    for name in ["net.fhec", "net.client.fhec", "net.server.fhec"] {
        assert!(folder.path().join(name).exists(), "{name}");
    }
}

#[test]
fn classify_answers_as_the_plain_network() {
    let digit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits/digit_3_a.png");
    assert_eq!(classify::run(&digit).unwrap(), [3, 3]);
}

#[test]
fn client_and_server_exchange_files() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(client_server::run(folder.path()).unwrap(), 0);
}

#[test]
fn rehearse_finds_the_same_classes() {
    assert_eq!(rehearse::run().unwrap(), [3, 3]);
}
