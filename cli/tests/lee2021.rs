//! `--preset lee2021`: the count of bootstraps line by line, and the packed program against the
//! network.

mod binary;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use fhec_compiler::build;
use fhec_compiler::data::Preprocess;
use fhec_compiler::program;
use fhec_ir::ckks::Op;
use fhec_ir::fact::{INPUT_LAYOUTS, OUTPUT_LAYOUTS};
use fhec_ir::interp::{nn, run_packed};
use fhec_ir::layout::Layout;
use fhec_ir::plan::Plan;
use fhec_ir::security;
use fhec_ir::tensor::Tensor;
use fhec_passes::nn::normalize_ranges::stored_inputs;
use fhec_passes::options::{ByteSize, CompileOptions, SecurityLevel};
use fhec_passes::preset::Preset;

use binary::succeeds;

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/resnet20.onnx")
}

struct Compiled {
    _folder: tempfile::TempDir,
    path: String,
}

fn compiled() -> &'static Compiled {
    static COMPILED: OnceLock<Compiled> = OnceLock::new();
    COMPILED.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("paper.fhec").to_str().expect("paths of tests are text").to_string();
        succeeds(&["compile", model().to_str().unwrap(), "--preset", "lee2021", "-o", &path]);
        Compiled { _folder: folder, path }
    })
}

/// Rule, ciphertexts and total of every row; the value that is refreshed is checked by layer.
#[rustfmt::skip]
const NETWORK: &[(&str, &str, usize, usize)] = &[
    ("input", "image", 3, 3),
    ("relu", "Relu", 16, 19), ("block", "Relu", 16, 35),
    ("relu", "layers/layers.0/Relu", 16, 51), ("relu", "layers/layers.0/Relu_1", 16, 67), ("block", "layers/layers.0/Relu_1", 16, 83),
    ("relu", "layers/layers.1/Relu", 16, 99), ("relu", "layers/layers.1/Relu_1", 16, 115), ("block", "layers/layers.1/Relu_1", 16, 131),
    ("relu", "layers/layers.2/Relu", 16, 147), ("relu", "layers/layers.2/Relu_1", 16, 163), ("block", "layers/layers.2/Relu_1", 16, 179),
    ("relu", "layers/layers.3/Relu", 32, 211), ("shortcut", "layers/layers.3/short/short.1/BatchNormalization", 32, 243),
    ("relu", "layers/layers.3/Relu_1", 32, 275), ("block", "layers/layers.3/Relu_1", 32, 307),
    ("relu", "layers/layers.4/Relu", 32, 339), ("relu", "layers/layers.4/Relu_1", 32, 371), ("block", "layers/layers.4/Relu_1", 32, 403),
    ("relu", "layers/layers.5/Relu", 32, 435), ("relu", "layers/layers.5/Relu_1", 32, 467), ("block", "layers/layers.5/Relu_1", 32, 499),
    ("relu", "layers/layers.6/Relu", 64, 563), ("shortcut", "layers/layers.6/short/short.1/BatchNormalization", 64, 627),
    ("relu", "layers/layers.6/Relu_1", 64, 691), ("block", "layers/layers.6/Relu_1", 64, 755),
    ("relu", "layers/layers.7/Relu", 64, 819), ("relu", "layers/layers.7/Relu_1", 64, 883), ("block", "layers/layers.7/Relu_1", 64, 947),
    ("relu", "layers/layers.8/Relu", 64, 1011), ("relu", "layers/layers.8/Relu_1", 64, 1075), ("block", "layers/layers.8/Relu_1", 64, 1139),
    ("logits", "logits/over_temperature", 10, 1149),
];

const SOFTMAX: &[(&str, &str, usize, usize)] = &[
    ("softmax-exponentials", "probabilities/exponentials", 10, 10),
    ("softmax-inverse", "probabilities", 1, 11),
    ("softmax-inverse", "probabilities", 1, 12),
    ("softmax-probabilities", "probabilities", 10, 22),
];

#[test]
fn every_line_of_the_count_is_pinned() {
    let path = &compiled().path;
    let plan: Plan =
        serde_json::from_str(&succeeds(&["inspect", path, "--json", "--min-security", "98"])).unwrap();
    assert_eq!((plan.bootstraps, plan.bootstraps_softmax), (1149, 22));
    let accounting = plan.accounting.as_ref().unwrap();
    assert!(accounting.remark.starts_with("a reconstruction"));
    for (softmax, expected) in [(false, NETWORK), (true, SOFTMAX)] {
        let rows: Vec<_> = accounting.rows.iter().filter(|row| row.softmax == softmax).collect();
        let found: Vec<_> = rows
            .iter()
            .map(|row| {
                (
                    row.rule.clone(),
                    fhec_compiler::report::names::short(&row.layer),
                    row.ciphertexts,
                    row.total,
                )
            })
            .collect();
        let expected: Vec<_> =
            expected.iter().map(|&(rule, layer, ct, total)| (rule.into(), layer.into(), ct, total)).collect();
        assert_eq!(found, expected);
    }
    // What is counted is what the program does: one op per row, in the program's ciphertexts.
    let program = program::open(Path::new(path), 98).unwrap().schedule;
    let bootstraps = program.ops().iter().filter(|data| matches!(data.op, Op::Bootstrap { .. }));
    let counts: Vec<usize> = bootstraps.map(|data| program.ty(data.result).vectors).collect();
    assert_eq!((counts.len(), counts.iter().sum::<usize>()), (accounting.rows.len(), 1149 + 22));
    // Beside it what others need: no rule saves any.
    let names: Vec<&str> = accounting.placements.iter().map(|row| row.placement.as_str()).collect();
    assert_eq!(names, ["lee2021", "lazy", "optimal"]);
    let [own, lazy, optimal] = &accounting.placements[..] else { panic!("three placements") };
    assert_eq!((own.bootstraps, own.bootstraps_softmax), (1149, 22));
    // The accounting's own figure for lazy placement from full level is 1,024.
    assert_eq!(lazy.bootstraps, 1024);
    assert!(optimal.seconds <= lazy.seconds && lazy.seconds < own.seconds);
    let text = succeeds(&["inspect", path, "--bootstraps", "--min-security", "98"]);
    for line in [
        "by rule: input 3 + relu 688 + block 352 + shortcut 96 + logits 10 = 1149",
        "by rule: softmax-exponentials 10 + softmax-inverse 2 + softmax-probabilities 10 = 22",
        "1149 and 22 of the softmax",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

/// The order of the linear maps in a bootstrap changes what one costs, not where they are.
#[test]
fn the_papers_order_in_bootstraps_keeps_the_count() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("last.fhec");
    let path = path.to_str().unwrap();
    succeeds(&["compile", model().to_str().unwrap(), "--preset", "lee2021-stc-last", "-o", path]);
    let plan: Plan =
        serde_json::from_str(&succeeds(&["inspect", path, "--json", "--min-security", "98"])).unwrap();
    assert_eq!((plan.bootstraps, plan.bootstraps_softmax), (1149, 22));
    let rows = plan.accounting.unwrap().rows;
    let counts =
        |softmax: bool| rows.iter().filter(move |row| row.softmax == softmax).map(|row| row.ciphertexts);
    assert!(counts(false).eq(NETWORK.iter().map(|&(.., ciphertexts, _)| ciphertexts)));
    assert!(counts(true).eq(SOFTMAX.iter().map(|&(.., ciphertexts, _)| ciphertexts)));
}

#[test]
fn parameters_are_the_papers_and_the_level_is_the_tables() {
    let plan: Plan =
        serde_json::from_str(&succeeds(&["inspect", &compiled().path, "--json", "--min-security", "98"]))
            .unwrap();
    assert_eq!((plan.log_n, plan.levels, plan.log_scale), (16, 29, 50));
    assert_eq!(plan.security_bits, 98);
    let program = program::open(Path::new(&compiled().path), 98).unwrap();
    security::check(&program.interface.params, 98).unwrap();
    assert!(plan.log2_failure_probability.unwrap() <= -40.0);
    assert!(plan.predicted_peak_bytes < 19 << 30);
    // 42 keys or so: with a digit per prime they are many times as large.
    let published = plan.accounting.unwrap().published_key_bytes;
    assert!(published > 4 * plan.key_bytes, "{published} against {}", plan.key_bytes);
    // A security level that the preset does not keep is refused.
    let output = Command::new(env!("CARGO_BIN_EXE_fhec"))
        .env("FHEC_COSTS", "zen5")
        .args([
            "compile",
            model().to_str().unwrap(),
            "--preset",
            "lee2021",
            "--security",
            "128",
            "-o",
            "no.fhec",
        ])
        .output()
        .unwrap();
    assert!(!output.status.success() && !Path::new("no.fhec").exists());
}

#[test]
fn the_packed_program_is_the_network() {
    let preprocess: Preprocess =
        Preprocess::new(255.0, vec![0.4914, 0.4822, 0.4465], vec![0.2470, 0.2435, 0.2616]).unwrap();
    let options = CompileOptions {
        security: Some(SecurityLevel::Bits98),
        max_ram: Some(ByteSize(24 << 30)),
        preset: Some(Preset::Lee2021),
        ..CompileOptions::default()
    };
    let request = options.into();
    let built = build::from_file(&model(), preprocess, &request).unwrap();
    let packed = &built.compiled.packed;
    let image = Tensor::from_fn([1, 3, 32, 32], |i| ((i / 7 * 7919 + 3) % 2003) as f32 / 801.2 - 1.25);
    let doubles = |tensor: &Tensor| tensor.data().iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let [input]: [Layout; 1] = packed.fact(INPUT_LAYOUTS).unwrap().try_into().unwrap();
    let [output]: [Layout; 1] = packed.fact(OUTPUT_LAYOUTS).unwrap().try_into().unwrap();
    assert_eq!((input.vectors(), input.slots, output.vectors()), (3, 1 << 10, 10));
    for data in packed.ops() {
        if let fhec_ir::packed::Op::LinearMap { map, .. } = &data.op {
            for layout in [&map.input, &map.output] {
                assert_eq!((layout.multiplex, layout.vectors()), (1, layout.shape[0]));
            }
        }
    }
    let stored = stored_inputs(&built.compiled.nn, &[image]).unwrap();
    let expected = nn::run(&built.compiled.nn, &stored).unwrap();
    let found = run_packed(packed, &[input.pack(&doubles(&stored[0]))]).unwrap();
    // In single precision against double, through 20 layers.
    for (found, expected) in output.unpack(&found[0]).iter().zip(doubles(&expected[0])) {
        assert!((found - expected).abs() < 1e-3, "{found} instead of {expected}");
    }
}
