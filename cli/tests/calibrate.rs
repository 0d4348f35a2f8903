//! `fhec calibrate` and what `fhec compile` makes of its file: fitted ReLUs in place of precise
//! ones.

mod binary;

use std::fs;
use std::path::{Path, PathBuf};

use fhec_compiler::data::Dataset;
use ndarray::Array4;
use ndarray_npy::WriteNpyExt;
use serde_json::Value;

use binary::{fhec, succeeds};

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

fn report(arguments: &[&str]) -> Value {
    serde_json::from_str(&succeeds(arguments)).expect("output is JSON")
}

/// The sample digits, each moved by up to two pixels either way: 14 times 25 pictures.
fn digits() -> Array4<u8> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(models().join("digits")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let pictures: Vec<Vec<f32>> =
        paths.iter().map(|path| Dataset::open(path, [1, 28, 28]).unwrap().raw(0)).collect();
    Array4::from_shape_fn([pictures.len() * 25, 1, 28, 28], |(image, _, y, x)| {
        let (picture, shift) = (&pictures[image / 25], image % 25);
        let (y, x) = ((y + shift / 5).checked_sub(2), (x + shift % 5).checked_sub(2));
        match (y, x) {
            (Some(y), Some(x)) if y < 28 && x < 28 => picture[28 * y + x] as u8,
            _ => 0,
        }
    })
}

#[test]
fn fits_travel_beside_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for extension in ["onnx", "toml", "calibration.json"] {
        fs::copy(models().join(format!("mnist_cnn.{extension}")), path(&format!("net.{extension}"))).unwrap();
    }
    let (model, images, file) = (path("net.onnx"), path("digits.npy"), path("net.activations.json"));
    digits().write_npy(fs::File::create(&images).unwrap()).unwrap();

    let precise = report(&["compile", text(&model), "-o", text(&path("precise.fhec")), "--json"]);
    let arguments =
        ["calibrate", text(&model), "--calibration", text(&images), "--agreement", "97", "--json"];
    let fitted = report(&arguments);
    assert_eq!((&fitted["fitted_images"], &fitted["judged_images"]), (&140.into(), &210.into()));
    assert!(fitted["agreeing_images"].as_u64().unwrap() >= 204, "{fitted}");
    let depths = fitted["depths"].as_array().unwrap();
    assert!(depths.len() == 2 && depths.iter().all(|depth| (3..=8).contains(&depth.as_u64().unwrap())));
    // What was seen, and what polynomials are made for: a value beyond the bound is rare, and never
    // far.
    let ranges = &fitted["ranges"];
    assert_eq!(ranges["images"], 350);
    let rows = ranges["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        let number = |name: &str| row[name].as_f64().unwrap();
        let largest = number("min").abs().max(number("max").abs());
        assert!(number("min") < 0.0 && number("max") > 0.0, "{row}");
        assert!(
            (number("margin") * largest - number("bound")).abs() < 1e-9 && number("margin") > 0.9,
            "{row}"
        );
        assert!(number("images_outside") <= 3.0, "{row}");
    }
    let first = fs::read(&file).unwrap();
    report(&arguments);
    assert!(first == fs::read(&file).unwrap(), "the same images give the same file");

    // The file is used where nothing else is asked for, and gives what the images give.
    let notes = |plan: &Value| plan["notes"].to_string();
    let beside = report(&["compile", text(&model), "-o", text(&path("beside.fhec")), "--json"]);
    assert!(notes(&beside).contains("polynomials from a file"), "{}", notes(&beside));
    let with_images = path("images.fhec");
    let arguments = [
        "compile",
        text(&model),
        "--calibration",
        text(&images),
        "--agreement",
        "97",
        "-o",
        text(&with_images),
        "--json",
    ];
    let with_images = report(&arguments);
    assert!(notes(&with_images).contains("fitted to 140 images"), "{}", notes(&with_images));
    assert_eq!(beside["levels"], with_images["levels"]);
    // Two ReLUs of 13 bits take 14 levels each: more than a chain without bootstraps has.
    let bootstraps = |plan: &Value| plan["bootstraps"].as_u64().unwrap();
    assert_eq!(bootstraps(&beside), 0);
    assert!(bootstraps(&precise) > 0);
    let alpha = path("alpha.fhec");
    let alpha = report(&["compile", text(&model), "--relu-alpha", "13", "-o", text(&alpha), "--json"]);
    assert_eq!(alpha["levels"], precise["levels"]);

    // What is encrypted answers as the network does.
    let digit = models().join("digits/digit_7_a.png");
    let run = report(&["run", text(&path("beside.fhec")), "--input", text(&digit), "--json"]);
    assert_eq!((&run["images"][0]["class"], &run["images"][0]["reference_class"]), (&7.into(), &7.into()));

    // A file of another model is refused.
    let foreign = String::from_utf8(first).unwrap().replacen("\"tensor\":\"", "\"tensor\":\"x", 1);
    fs::write(&file, foreign).unwrap();
    let refused = fhec(&["compile", text(&model), "-o", text(&path("refused.fhec"))]);
    let errors = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && errors.contains("fitted activations"), "{errors}");
}

#[test]
fn agreement_needs_images() {
    let model = models().join("mnist_cnn.onnx");
    let output = fhec(&["compile", text(&model), "--agreement", "99", "-o", "never.fhec"]);
    assert_eq!(output.status.code(), Some(2));
    for other in [["--relu-depth", "5"], ["--relu-alpha", "9"]] {
        let arguments = [
            "compile",
            text(&model),
            "--calibration",
            "x.npy",
            "--agreement",
            "99",
            other[0],
            other[1],
            "-o",
            "x",
        ];
        assert_eq!(fhec(&arguments).status.code(), Some(2));
    }
}
