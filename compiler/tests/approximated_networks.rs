//! Real networks through the passes on the nn stage: the program on stored values, with polynomials
//! for activations, against the network itself.
//!
//! The networks of `models/` come with the repository. The rest needs the reference data
//! (`fhec_test_data`), and says so where there is none.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use fhec_compiler::{
    data::{Dataset, Preprocess, preprocess},
    onnx,
};
use fhec_ir::fact::OUTPUT_FACTOR;
use fhec_ir::{
    func::{Func, StageOp},
    interp,
    nn::{Nn, Op},
    tensor::Tensor,
};
use fhec_passes::{
    nn::{
        activations::Activations,
        approximate::ReluMethod,
        calibrate::{Range, Source},
        fit_network::Fitting,
        normalize_ranges::stored_inputs,
    },
    pipeline::{NnOptions, NnResult, run_nn},
};

fn models() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models")
}

fn data() -> Option<PathBuf> {
    fhec_test_data::folder_with("models")
}

fn images(path: &Path, shape: [usize; 3], preprocess: &Preprocess, count: usize) -> Vec<Vec<Tensor>> {
    let dataset = Dataset::open(path, shape).unwrap();
    let one = |index| {
        let input = dataset.input(index, preprocess).unwrap();
        vec![Tensor::new([&[1], &shape[..]].concat(), input).unwrap()]
    };
    (0..count.min(dataset.len())).map(one).collect()
}

fn class(logits: &[f32]) -> usize {
    (0..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best })
}

/// Images of another class than the reference's, and the largest difference of logits.
fn compare(result: &NnResult, images: &[Vec<Tensor>]) -> (usize, f32) {
    let factor = result.func.fact(OUTPUT_FACTOR).unwrap() as f32;
    let (mut changed, mut worst) = (0, 0.0f32);
    for image in images {
        let exact = interp::nn::run(&result.reference, image).unwrap().remove(0);
        let stored = stored_inputs(&result.func, image).unwrap();
        let stored = interp::nn::run(&result.func, &stored).unwrap().remove(0);
        let logits: Vec<f32> = stored.data().iter().map(|v| v * factor).collect();
        changed += usize::from(class(exact.data()) != class(&logits));
        worst = exact.data().iter().zip(&logits).fold(worst, |m, (a, b)| m.max((a - b).abs()));
    }
    (changed, worst)
}

fn run(func: &Func<Nn>, source: &Source<'_>, relu: ReluMethod) -> (NnResult, Duration) {
    let mut options = NnOptions::default();
    options.approximate.relu = relu;
    let start = Instant::now();
    let result = run_nn(func, source, &options, &mut |_, _| ()).unwrap();
    (result, start.elapsed())
}

fn count(func: &Func<Nn>, name: &str) -> usize {
    func.ops().iter().filter(|data| data.op.mnemonic() == name).count()
}

/// The ranges of `models/NAME.calibration.json`.
fn table(name: &str) -> BTreeMap<String, Range> {
    let text = std::fs::read_to_string(models().join(format!("{name}.calibration.json"))).unwrap();
    let entries: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let entry = |entry: &serde_json::Value| {
        let number = |key: &str| entry[key].as_f64().unwrap();
        (entry["tensor"].as_str().unwrap().to_string(), Range::new(number("min"), number("max")))
    };
    entries.iter().map(entry).collect()
}

#[test]
fn the_mnist_networks_of_the_repository() {
    let digits: Vec<PathBuf> = {
        let folder = std::fs::read_dir(models().join("digits")).unwrap();
        let mut paths: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    };
    // Convolutions, dense layers, polynomials and products that are left.
    for (name, expected) in
        [("mnist_cnn", [2, 1, 6, 2]), ("mnist_cnn_deg4", [2, 1, 2, 0]), ("mnist_cnn_deg3", [2, 1, 2, 0])]
    {
        let func = onnx::import(models().join(format!("{name}.onnx"))).unwrap().func;
        let preprocess = preprocess::open(models().join(format!("{name}.toml"))).unwrap();
        let ranges = table(name);
        // Pixels from 0 to 1 after normalisation.
        let ends = [0.0, 255.0]
            .map(|p| f64::from((p / preprocess.scale() - preprocess.mean()[0]) / preprocess.std()[0]));
        let source = Source::Table { ranges: &ranges, input: Range::new(ends[0], ends[1]) };
        let (result, _) = run(&func, &source, ReluMethod::Alpha(13.0));
        let calibrate = result.reports.iter().find(|report| report.pass == "calibrate").unwrap();
        assert_eq!(calibrate.counts["values from the table"], ranges.len(), "{name}: names survive folding");
        let found = ["conv2d", "dense", "poly", "mul"].map(|op| count(&result.func, op));
        assert_eq!(found, expected, "{name}");
        assert_eq!(count(&result.func, "average_pool"), 0, "{name}: pools are part of linear maps");
        let digits: Vec<Vec<Tensor>> =
            digits.iter().map(|path| images(path, [1, 28, 28], &preprocess, 1).remove(0)).collect();
        let (changed, worst) = compare(&result, &digits);
        eprintln!("{name}: {changed} of {} digits change class, logits by at most {worst:.5}", digits.len());
        assert_eq!(changed, 0, "{name}");
        // The polynomial networks are what they were; ReLU is off by 2^-13 of a domain of 11.5 in
        // some of 6,272 places.
        assert!(worst < if expected[3] == 0 { 1e-4 } else { 1e-2 }, "{name}: {worst}");
    }
}

#[test]
fn resnet20_on_images() {
    let Some(data) = data() else { return };
    let func = onnx::import(data.join("models/resnet20_cifar10_pre.onnx")).unwrap().func;
    let preprocess = Preprocess::new(255.0, vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]).unwrap();
    let cifar = |file: &str, count| images(&data.join("cifar10").join(file), [3, 32, 32], &preprocess, count);
    let (calibration, test) = (cifar("calibration_1000.bin", 100), cifar("test_batch_a.bin", 100));
    let source = Source::Images(&calibration);
    for (relu, wrong, difference) in [
        (ReluMethod::Alpha(13.0), 0, 0.05),
        (ReluMethod::Degrees(vec![15, 15, 27]), 0, 0.05),
        (ReluMethod::Degrees(vec![15, 27]), 1, 1.0),
        (ReluMethod::Even(126), 2, 2.0),
    ] {
        let (result, time) = run(&func, &source, relu.clone());
        assert_eq!(count(&result.func, "conv2d"), 21);
        assert_eq!(count(&result.func, "dense"), 1);
        let (changed, worst) = compare(&result, &test);
        let calibrate = result.reports.iter().find(|report| report.pass == "calibrate").unwrap().time;
        eprintln!(
            "{relu:?}: {changed} of {} images change class, logits by at most {worst:.4}; passes {:.3} s without calibration",
            test.len(),
            (time - calibrate).as_secs_f64()
        );
        assert!(changed <= wrong && worst < difference, "{relu:?}: {changed}, {worst}");
    }
}

/// ReLUs fitted to a few images: half the depth of a composition that is as good.
#[test]
fn fitted_resnet20_on_images() {
    let Some(data) = data() else { return };
    let func = onnx::import(data.join("models/resnet20_cifar10_pre.onnx")).unwrap().func;
    let preprocess = Preprocess::new(255.0, vec![0.485, 0.456, 0.406], vec![0.229, 0.224, 0.225]).unwrap();
    let cifar = |file: &str, count| images(&data.join("cifar10").join(file), [3, 32, 32], &preprocess, count);
    let (calibration, test) = (cifar("calibration_1000.bin", 200), cifar("test_batch_a.bin", 100));
    for (depth, wrong, difference) in [(5, 4, 4.0), (6, 2, 2.0), (7, 1, 1.0)] {
        let mut options = NnOptions::default();
        options.fit.fitting = Fitting::Depth(depth);
        let start = Instant::now();
        let result = run_nn(&func, &Source::Images(&calibration), &options, &mut |_, _| ()).unwrap();
        let time = start.elapsed();
        let [polynomials, products, sums] = ["poly", "mul", "add"].map(|op| count(&result.func, op));
        // A shift for each of 19 activations beside the 9 residual sums; nothing is multiplied, so
        // nothing takes a level.
        assert_eq!([polynomials, products, sums], [19, 0, 9 + 19]);
        let (changed, worst) = compare(&result, &test);
        eprintln!(
            "depth {depth}: {changed} of {} images change class, logits by at most {worst:.4}; passes {time:.1?}",
            test.len()
        );
        assert!(changed <= wrong && worst < difference, "{depth}: {changed}, {worst}");
    }
}

/// The fits that come with the repository's ResNet-20 belong to it, and keep the class of the
/// sample pictures.
#[test]
fn the_fitted_activations_of_the_repository() {
    let func = onnx::import(models().join("resnet20.onnx")).unwrap().func;
    let preprocess = preprocess::open(models().join("resnet20.toml")).unwrap();
    let text = std::fs::read_to_string(models().join("resnet20.activations.json")).unwrap();
    let activations: Activations = serde_json::from_str(&text).unwrap();
    let ranges = table("resnet20");
    let mut options = NnOptions::default();
    options.fit.fitting = Fitting::Known(activations);
    let source = Source::Table { ranges: &ranges, input: Range::new(-2.0, 2.2) };
    let result = run_nn(&func, &source, &options, &mut |_, _| ()).unwrap();
    assert_eq!(["poly", "mul"].map(|op| count(&result.func, op)), [19, 0]);
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(models().join("scenes")).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let scenes: Vec<Vec<Tensor>> =
        paths.iter().map(|path| images(path, [3, 32, 32], &preprocess, 1).remove(0)).collect();
    let (changed, worst) = compare(&result, &scenes);
    eprintln!("{changed} of {} sample pictures change class, logits by at most {worst:.4}", scenes.len());
    assert!(changed == 0 && worst < 2.0, "{changed}, {worst}");
}

#[test]
fn all_reference_models_go_through() {
    let Some(data) = data() else { return };
    for entry in std::fs::read_dir(data.join("models")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "onnx") {
            continue;
        }
        let func = onnx::import(&path).unwrap().func;
        let source = Source::Intervals(Range::new(-1.0, 1.0));
        let (result, time) = run(&func, &source, ReluMethod::Alpha(10.0));
        eprintln!(
            "{}: {} ops become {}, in {:.3} s",
            path.file_name().unwrap().to_string_lossy(),
            func.ops().len(),
            result.func.ops().len(),
            time.as_secs_f64()
        );
        for data in result.func.ops() {
            let allowed = matches!(
                data.op,
                Op::Conv2d { .. }
                    | Op::Dense { .. }
                    | Op::Poly { .. }
                    | Op::Add { .. }
                    | Op::Sub { .. }
                    | Op::Mul { .. }
                    | Op::Constant { .. }
                    | Op::Reshape { .. }
                    | Op::Concat { .. }
                    | Op::AveragePool { .. }
            );
            assert!(allowed, "{}: {} is left", path.display(), data.op.mnemonic());
        }
    }
}
