//! A compile gives the same bytes on any number of threads, fits to calibration images included.
//!
//! `cli/tests/determinism.rs` says so of processes; here it is pools of one process, as programs
//! have them that compile through the library.

use std::path::Path;

use fhec_compiler::build::{self, Calibration, Request};
use fhec_compiler::data::{ImageArray, Preprocess};
use fhec_passes::analysis::cost::CostTable;
use fhec_passes::options::CompileOptions;

/// Blobs at different places and of different widths.
fn blobs(count: usize) -> ImageArray {
    let pixel = |index: usize| {
        let (image, y, x) = (index / 784, index / 28 % 28, index % 28);
        let (cy, cx) = (8.0 + (image * 5 % 13) as f32, 8.0 + (image * 7 % 12) as f32);
        let (dy, dx) = (y as f32 - cy, x as f32 - cx);
        (-(dy * dy + (1 + image % 3) as f32 * dx * dx) / 30.0).exp() * 2.8 - 0.4
    };
    ImageArray::values(vec![count, 1, 28, 28], (0..count * 784).map(pixel).collect())
}

#[test]
fn pools_of_any_size_give_the_same_bytes() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/mnist_cnn.onnx");
    // Prices of a machine that no pool is like, as runs have refined them.
    let runs = [("linear_map".into(), 1.25), ("bootstrap".into(), 0.875)].into();
    let costs =
        CostTable { machine: "a machine of three threads".into(), threads: 3, runs, ..CostTable::default() };
    let options = CompileOptions { costs, ..CompileOptions::default() };
    let request = Request { calibration: Calibration::Array(blobs(48)), ..options.into() };
    let compile = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let built = pool.install(|| build::from_file(&model, Preprocess::default(), &request).unwrap());
        assert!(built.compiled.activations.is_some(), "polynomials are fitted");
        built.program.to_bytes()
    };
    let one = compile(1);
    assert!(one.len() > 10_000);
    for threads in [2, 5] {
        assert!(compile(threads) == one, "another artifact on {threads} threads");
    }
}
