//! The same options give the same program, whoever is asked: the command line by a file or by
//! flags, the library that reads files, the passes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use fhec_compiler::build;
use fhec_compiler::data::preprocess;
use fhec_compiler::onnx;
use fhec_ir::text::print_func;
use fhec_passes::compile::compile;
use fhec_passes::nn::calibrate::{Range, Source};
use fhec_passes::options::CompileOptions;

const OPTIONS: &str = "security = 98\nbatch = 3\nmax-ram = \"3GiB\"\npacking = \"multiplexed\"\n";
const FLAGS: [&str; 8] =
    ["--security", "98", "--batch", "3", "--max-ram", "3GiB", "--packing", "multiplexed"];

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/mnist_cnn_deg3.onnx")
}

/// `fhec compile` of the model, with no table of costs but the built-in one.
fn fhec(folder: &Path, flags: &[&str]) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_fhec"));
    command.env("FHEC_COSTS", "zen5");
    command.env("XDG_CONFIG_HOME", folder).arg("compile").arg(model()).args(flags).output().unwrap()
}

fn artifact(folder: &Path, flags: &[&str]) -> Vec<u8> {
    let file = folder.join("out.fhec");
    let output = fhec(folder, &[flags, &["-o", file.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(file).unwrap()
}

/// Ranges as the file beside the model has them.
fn ranges() -> BTreeMap<String, Range> {
    let text = std::fs::read_to_string(model().with_extension("calibration.json")).unwrap();
    let rows: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let range = |row: &serde_json::Value| {
        let number = |key: &str| row[key].as_f64().unwrap();
        (row["tensor"].as_str().unwrap().to_string(), Range::new(number("min"), number("max")))
    };
    rows.iter().map(range).collect()
}

#[test]
fn a_file_flags_and_the_library_give_the_same_artifact() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("options.toml");
    std::fs::write(&file, OPTIONS).unwrap();
    let by_file = artifact(folder.path(), &["--options", file.to_str().unwrap()]);
    assert!(by_file == artifact(folder.path(), &FLAGS), "flags give something else");

    let options: CompileOptions = toml::from_str(OPTIONS).unwrap();
    let preprocess = preprocess::beside(model()).unwrap().unwrap();
    let built = build::from_file(&model(), preprocess.clone(), &options.clone().into()).unwrap();
    assert!(by_file == built.program.to_bytes(), "the library gives something else");
    assert!(by_file != artifact(folder.path(), &FLAGS[..2]), "options change nothing");

    // The passes alone, on what the library reads from files.
    let network = onnx::import(model()).unwrap().func;
    let (mean, std) = (f64::from(preprocess.mean()[0]), f64::from(preprocess.std()[0]));
    let pixel = |value: f64| (value - mean) / std;
    let (ranges, input) = (ranges(), Range::new(pixel(0.0), pixel(1.0)));
    let source = Source::Table { ranges: &ranges, input };
    let compiled = compile(&network, &source.into(), &options, &mut |_, _| ()).unwrap();
    let body = |text: String| text.split_once('{').unwrap().1.to_string();
    assert_eq!(body(print_func(&compiled.program)), body(print_func(&built.compiled.program)));
    assert_eq!(compiled.params, built.compiled.params);
}

#[test]
fn what_a_file_of_options_cannot_say_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("options.toml");
    let error = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let output = fhec(folder.path(), &["--options", file.to_str().unwrap(), "--emit", "ckks"]);
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let unknown = error("securty = 98");
    assert!(unknown.contains("options.toml") && unknown.contains("unknown field `securty`"), "{unknown}");
    let contradiction = error("preset = \"lee2021\"\npacking = \"pixel\"");
    assert!(contradiction.contains("option `packing`: the preset lee2021 fixes it"), "{contradiction}");
}
