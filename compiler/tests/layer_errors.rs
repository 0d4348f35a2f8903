//! `fhec run --layer-errors`: what encryption does to every layer, against what was simulated and predicted. The network is the MNIST CNN
//! with polynomial activations of degree 3: real parameters, small keys, and nothing approximated.

mod binary;

use std::path::Path;

use fhec_compiler::program::Program;
use serde_json::Value;

use binary::succeeds;

#[test]
fn errors_of_layers_are_as_simulated_and_predicted() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.fhec");
    let (program, digit) = (path.to_str().unwrap(), models.join("digits/digit_7_a.png"));
    succeeds(&["compile", models.join("mnist_cnn_deg3.onnx").to_str().unwrap(), "-o", program]);
    let report = succeeds(&["run", program, "--input", digit.to_str().unwrap(), "--layer-errors", "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    let errors = report["images"][0]["layer_errors"].as_array().expect("a list");
    let plan = Program::open(&path).unwrap().plan;
    let names: Vec<&str> = errors.iter().map(|error| error["name"].as_str().unwrap()).collect();
    let layers: Vec<&str> = plan.layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names, layers);
    for error in errors {
        let bits = |what: &str, which: &str| error[what][which].as_f64().unwrap();
        let (noise, simulated) = (bits("noise", "mean"), bits("simulated", "mean"));
        assert!((noise - simulated).abs() < 1.5, "{error}");
        let careful = noise - error["predicted"].as_f64().unwrap();
        assert!(careful.abs() < 1.5, "{error}");
        assert!(noise > 15.0 && bits("noise", "worst") > 10.0 && bits("noise", "worst") <= noise, "{error}");
        // The program does what the network does, but for single precision; the sum of both is what the total is made of.
        assert!(bits("approximation", "mean") > 18.0, "{error}");
        let sum = 2f64.powf(-noise).hypot(2f64.powf(-bits("approximation", "mean")));
        assert!((bits("total", "mean") + sum.log2()).abs() < 1.0, "{error}");
    }
    // Only who has the secret key can look.
    assert!(succeeds(&["run", "--help"]).contains("--layer-errors"));
    assert!(!succeeds(&["eval", "--help"]).contains("--layer-errors"));
}
