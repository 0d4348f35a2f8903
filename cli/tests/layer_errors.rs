//! `fhec run --layer-errors`: what encryption does to every layer, against what was simulated and
//! predicted. The network is the MNIST CNN with polynomial activations of degree 3: real
//! parameters, small keys, and nothing approximated.

mod binary;

use std::path::Path;

use fhec_compiler::program;
use serde_json::Value;

use binary::succeeds;

#[test]
fn errors_of_layers_are_as_simulated_and_predicted() {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("net.fhec");
    let program = path.to_str().unwrap();
    succeeds(&["compile", models.join("mnist_cnn_deg3.onnx").to_str().unwrap(), "-o", program]);
    let digits = std::fs::read_dir(models.join("digits")).unwrap().map(|digit| digit.unwrap().path());
    let reports: Vec<Value> = digits
        .map(|digit| {
            succeeds(&["run", program, "--input", digit.to_str().unwrap(), "--layer-errors", "--json"])
        })
        .map(|report| serde_json::from_str(&report).unwrap())
        .collect();
    let errors: Vec<&Vec<Value>> = reports
        .iter()
        .map(|report| report["images"][0]["layer_errors"].as_array().expect("a list"))
        .collect();
    let plan = program::open(&path, 98).unwrap().plan;
    let layers: Vec<&str> = plan.layers.iter().map(|layer| layer.name.as_str()).collect();
    for errors in &errors {
        let names: Vec<&str> = errors.iter().map(|error| error["name"].as_str().unwrap()).collect();
        assert_eq!(names, layers);
        for error in *errors {
            let bits = |what: &str, which: &str| error[what][which].as_f64().unwrap();
            assert!(bits("noise", "mean") > 15.0 && bits("noise", "worst") > 10.0, "{error}");
            assert!(bits("noise", "worst") <= bits("noise", "mean"), "{error}");
            // The program does what the network does, but for single precision.
            assert!(bits("approximation", "mean") > 18.0, "{error}");
            // Both together are the total, whichever way they lie to each other: the triangle
            // inequality of root mean squares.
            let [noise, approximation, total] =
                ["noise", "approximation", "total"].map(|what| 2f64.powf(-bits(what, "mean")));
            assert!(total <= (noise + approximation) * 1.0001, "{error}");
            assert!(total >= (noise - approximation).abs() * 0.9999, "{error}");
        }
    }
    // One image has ten logits, too few to tell an error's size from: all images together.
    for (index, layer) in layers.iter().enumerate() {
        let pooled = |bits: &dyn Fn(&Value) -> f64| {
            let squares = errors.iter().map(|errors| 4f64.powf(-bits(&errors[index])));
            -(squares.sum::<f64>() / errors.len() as f64).log2() / 2.0
        };
        let noise = pooled(&|error| error["noise"]["mean"].as_f64().unwrap());
        let simulated = pooled(&|error| error["simulated"]["mean"].as_f64().unwrap());
        let predicted = pooled(&|error| error["predicted"].as_f64().unwrap());
        assert!((noise - simulated).abs() < 0.75, "{layer}: {noise} bits, simulated {simulated}");
        assert!((noise - predicted).abs() < 1.25, "{layer}: {noise} bits, predicted {predicted}");
    }
    // Only who has the secret key can look.
    assert!(succeeds(&["run", "--help"]).contains("--layer-errors"));
    assert!(!succeeds(&["eval", "--help"]).contains("--layer-errors"));
}
