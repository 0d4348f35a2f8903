//! Pictures as people have them go in, and answers come out as arrays.

mod binary;

use std::fs;
use std::path::Path;

use binary::{fhec, succeeds};
use image::imageops::FilterType;
use ndarray::Array2;
use ndarray_npy::read_npy;
use serde_json::Value;

fn models() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is text")
}

/// A digit, three times as large and with an edge to the left and right.
fn photograph(digit: &str, to: &Path) {
    let digit = image::open(models().join("digits").join(digit)).unwrap();
    let large = digit.resize_exact(84, 84, FilterType::Nearest).into_luma8();
    let mut photograph = image::GrayImage::new(120, 84);
    image::imageops::overlay(&mut photograph, &large, 18, 0);
    photograph.save(to).unwrap();
}

#[test]
fn photographs_in_folders_are_classified_and_answers_saved() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let program = at("net.fhec");
    let model = models().join("mnist_cnn_deg3.onnx");
    succeeds(&["compile", text(&model), "--resize", "28", "--crop", "28", "-o", text(&program)]);
    for digit in [3, 7] {
        let class = at("photographs").join(digit.to_string());
        fs::create_dir_all(&class).unwrap();
        photograph(&format!("digit_{digit}_a.png"), &class.join("a.png"));
    }
    // The program knows its classes by name, and how pictures are made to fit.
    let photographs = at("photographs");
    let report = succeeds(&["simulate", text(&program), "--dataset", text(&photographs), "--json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["images"], &report["accuracy"]), (&2.into(), &1.0.into()), "{report}");

    let (picture, saved) = (photographs.join("7/a.png"), at("answer.npy"));
    let run = succeeds(&["run", text(&program), "--input", text(&picture), "--save", text(&saved), "--json"]);
    let run: Value = serde_json::from_str(&run).unwrap();
    let answer: Array2<f64> = read_npy(&saved).unwrap();
    assert_eq!((answer.shape(), &run["images"][0]["class"]), (&[1, 10][..], &7.into()));
    let logits: Vec<f64> = serde_json::from_value(run["images"][0]["logits"].clone()).unwrap();
    assert_eq!(answer.into_raw_vec_and_offset().0, logits);

    // What cannot be saved is said before the run.
    for (name, says) in [("answer.txt", ".npy, .npz or .png"), ("answer.png", "save .npy instead")] {
        let saved = at(name);
        let output = fhec(&["run", text(&program), "--input", text(&picture), "--save", text(&saved)]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(says), "{error}");
        assert!(!saved.exists());
    }
}
