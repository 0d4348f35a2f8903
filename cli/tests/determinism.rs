//! The same inputs give the same artifact, byte for byte, whatever the number of threads.

use std::path::Path;
use std::process::Command;

use ndarray::Array4;

fn model(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(name);
    path.to_str().expect("paths of tests are text").to_string()
}

/// Compiles with each setting of threads and compares the artifacts.
fn assert_same_bytes(model_name: &str, flags: &[&str]) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("net.fhec");
    let mut first: Option<Vec<u8>> = None;
    // Twice alike, then with other numbers of threads, by the environment and by the flag.
    for (environment, threads) in [("2", None), ("2", None), ("1", None), ("7", None), ("2", Some("3"))] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fhec"));
        command.env("FHEC_COSTS", "zen5");
        command.env("RAYON_NUM_THREADS", environment);
        command.args(["compile", &model(model_name), "-o", out.to_str().unwrap()]).args(flags);
        if let Some(threads) = threads {
            command.args(["--threads", threads]);
        }
        let output = command.output().expect("fhec starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let bytes = std::fs::read(&out).unwrap();
        std::fs::remove_file(&out).unwrap();
        assert!(bytes.len() > 10_000);
        match &first {
            None => first = Some(bytes),
            Some(first) => assert!(
                *first == bytes,
                "{model_name} {flags:?}: another artifact with RAYON_NUM_THREADS={environment}, --threads {threads:?}"
            ),
        }
    }
}

#[test]
fn a_bootstrapped_network_compiles_to_the_same_bytes() {
    assert_same_bytes("resnet20.onnx", &["--security", "98"]);
}

#[test]
fn activations_fitted_to_images_are_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let images = folder.path().join("images.npy");
    // Blobs at different places: images enough to fit and to judge.
    let blob = |(image, _, y, x): (usize, usize, usize, usize)| {
        let (cy, cx) = (8.0 + (image * 5 % 13) as f32, 8.0 + (image * 7 % 12) as f32);
        let (dy, dx) = (y as f32 - cy, x as f32 - cx);
        (-(dy * dy + (1 + image % 3) as f32 * dx * dx) / 30.0).exp() * 2.8 - 0.4
    };
    let array = Array4::from_shape_fn((40, 1, 28, 28), blob);
    ndarray_npy::write_npy(&images, &array).unwrap();
    let calibration = images.to_str().unwrap();
    assert_same_bytes("mnist_cnn.onnx", &["--calibration", calibration, "--relu-depth", "5"]);
}
