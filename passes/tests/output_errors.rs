//! Compiles judge their outputs: what fits cannot resolve becomes a composition, and what is lost
//! is refused.

use fhec_ir::func::Func;
use fhec_ir::nn::Nn;
use fhec_ir::tensor::Tensor;
use fhec_ir::text::{ConstSource, parse_func};
use fhec_passes::compile::{Compiled, compile};
use fhec_passes::error::PassError;
use fhec_passes::nn::calibrate::Source;
use fhec_passes::options::{CompileOptions, Relu};

/// Operands of a rectifier that are below zero nearly everywhere. The output is a map, not a list
/// of classes.
const MAP: &str = r#"func nn map {
    const @0 : f32[16, 16] = random(1) const @1 : f32[] = [90.0] const @2 : f32[] = [-220.0]
    const @3 : f32[16, 16] = random(2)
    input %0 : f32[1, 16] "picture"
    %1 = dense(%0) {weight=@0} "mixed"
    %2 = constant() {value=@1}
    %3 = mul(%1, %2) "large"
    %4 = constant() {value=@2}
    %5 = add(%3, %4) "below"
    %6 = relu(%5) "features"
    %7 = dense(%6) {weight=@3} "noise"
    %8 = reshape(%7) {shape=[1, 1, 4, 4]} "map"
    return %8
}"#;

/// What a denoiser does: its operands reach hundreds below zero, and are at most 3.
const DENOISER: &str = r#"func nn denoiser {
    const @0 : f32[16, 16] = random(1) const @1 : f32[] = [5.0] const @2 : f32[] = [3.0]
    const @3 : f32[16, 16] = random(2)
    input %0 : f32[1, 16] "picture"
    %1 = dense(%0) {weight=@0} "mixed"
    %2 = constant() {value=@1}
    %3 = mul(%1, %2) "large"
    %4 = mul(%3, %3) "square"
    %5 = constant() {value=@2}
    %6 = sub(%5, %4) "below"
    %7 = relu(%6) "features"
    %8 = dense(%7) {weight=@3} "noise"
    %9 = reshape(%8) {shape=[1, 1, 4, 4]} "map"
    return %9
}"#;

/// Products of two tensors, as small differences of large numbers, three times. Errors of these
/// numbers are the same, which a prediction does not see.
const CANCELLING: &str = r#"func nn cancelling {
    const @0 : f32[] = [300.0] const @1 : f32[] = [90000.0] const @2 : f32[16, 16] = random(1)
    input %0 : f32[1, 16] "picture"
    %1 = dense(%0) {weight=@2} "mixed"
    %2 = constant() {value=@0}
    %3 = constant() {value=@1}
    %4 = add(%1, %2)
    %5 = mul(%1, %2)
    %6 = add(%0, %2)
    %7 = mul(%6, %4)
    %8 = mul(%0, %2)
    %9 = sub(%7, %8)
    %10 = sub(%9, %5)
    %11 = sub(%10, %3) "once"
    %12 = add(%11, %2)
    %13 = mul(%12, %4)
    %14 = mul(%11, %2)
    %15 = sub(%13, %14)
    %16 = sub(%15, %5)
    %17 = sub(%16, %3) "twice"
    %18 = add(%17, %2)
    %19 = mul(%18, %4)
    %20 = mul(%17, %2)
    %21 = sub(%19, %20)
    %22 = sub(%21, %5)
    %23 = sub(%22, %3) "thrice"
    %24 = reshape(%23) {shape=[1, 1, 4, 4]} "map"
    return %24
}"#;

fn compiled(network: &str, options: &CompileOptions) -> Result<Compiled, PassError> {
    let network: Func<Nn> = parse_func(network, &ConstSource::default()).expect("it is a network");
    let number =
        |image: usize, i: usize| ((image * 8191 + i * 7919 + i * i * 31) % 2003) as f32 / 1001.5 - 1.0;
    let image = |image| vec![Tensor::from_fn([1, 16], |i| number(image, i))];
    let images: Vec<Vec<Tensor>> = (0..60).map(image).collect();
    compile(&network, &Source::Images(&images).into(), options, &mut |_, _| ())
}

#[test]
fn fits_that_resolve_too_little_become_compositions() {
    let compiled = compiled(DENOISER, &CompileOptions::default()).unwrap();
    let note = compiled.plan.notes.iter().find(|note| note.contains("compositions for sign"));
    assert!(note.is_some(), "{:?}", compiled.plan.notes);
    let [row] = &compiled.plan.outputs[..] else { panic!("there is one output") };
    assert_eq!((row.name.as_str(), row.classes, row.judged_images), ("map", false, 36));
    assert!(row.signal_to_error_db > Some(20.0), "{row:?}");
    // A depth that is asked for is kept.
    let asked = CompileOptions { relu: Relu::Depth(8), ..CompileOptions::default() };
    let fitted = self::compiled(DENOISER, &asked).unwrap();
    assert!(fitted.plan.outputs[0].signal_to_error_db < row.signal_to_error_db);
    assert!(fitted.activations.is_some() && compiled.activations.is_none());
}

/// The denoiser's numbers as a list of classes: a coarse list still has its signal, but few images
/// keep their class.
#[test]
fn fits_that_keep_few_classes_become_compositions() {
    let classes =
        DENOISER.replace("    %9 = reshape(%8) {shape=[1, 1, 4, 4]} \"map\"\n", "").replace("%9", "%8");
    let compiled = compiled(&classes, &CompileOptions::default()).unwrap();
    let notes = &compiled.plan.notes;
    let note = notes.iter().find(|note| note.contains("compositions for sign"));
    assert!(note.is_some_and(|note| note.ends_with("and 100 %")), "{notes:?}");
    assert!(compiled.plan.outputs[0].classes && compiled.activations.is_none());
    let coarse = CompileOptions { relu: Relu::Depth(8), ..CompileOptions::default() };
    let fitted = self::compiled(&classes, &coarse).unwrap();
    assert!(!fitted.plan.outputs[0].is_lost(), "it is no question of the signal");
}

#[test]
fn a_program_that_is_wrong_by_more_than_it_says_is_refused() {
    let coarse = CompileOptions { relu: Relu::Depth(2), ..CompileOptions::default() };
    let error = compiled(MAP, &coarse).unwrap_err();
    let PassError::OutputLost { output, decibels, judged, .. } = &error else { panic!("{error}") };
    assert!(output == "map" && *decibels < 0.0 && *judged == 36, "{error}");
    let message = error.to_string();
    for part in ["`map`", "--relu-depth", "--calibration", "24 to fit to", "--allow-inaccurate"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let allowed = compiled(MAP, &CompileOptions { allow_inaccurate: true, ..coarse }).unwrap();
    assert!(allowed.plan.outputs[0].is_lost());
    assert!(allowed.plan.notes.iter().any(|note| note.contains("far from that of the plain network")));
}

/// Predictions bound what many steep polynomials make of noise: what noise takes from an output is
/// seen by who runs the program.
#[test]
fn a_predicted_noise_refuses_nothing() {
    let noisy = CompileOptions { log_scale: Some(26), ..CompileOptions::default() };
    let compiled = compiled(CANCELLING, &noisy).unwrap();
    let deviation = compiled.plan.predicted_log2_error;
    assert!(deviation > 0.0, "{deviation}");
    // Single precision alone leaves 5 dB.
    assert!(!compiled.plan.outputs[0].is_lost(), "{:?}", compiled.plan.outputs);
}
