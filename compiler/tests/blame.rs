//! Which layer flips a class: programs that are wrong for a known reason, and layers that must be
//! what the plain network has.
//!
//! The network has a residual block with stride 2 and channels of different sizes, so its compiled
//! form has equalised channels and multiplexed layouts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fhec_compiler::blame::{Blame, Blamer, Cause};
use fhec_compiler::layer_values::Layers;
use fhec_compiler::program::argmax;
use fhec_compiler::simulator::Simulator;
use fhec_ir::func::Func;
use fhec_ir::interp;
use fhec_ir::nn::Nn;
use fhec_ir::program::{Preprocess, Program};
use fhec_ir::tensor::Tensor;
use fhec_ir::text::{ConstSource, parse_func};
use fhec_passes::compile::compile;
use fhec_passes::nn::activations::Activations;
use fhec_passes::nn::calibrate::{Range, Source};
use fhec_passes::options::{CompileOptions, Knowledge, Relu};

/// Its logits are 0 on average over `images`, so that classes differ.
fn network(images: &[Vec<f32>]) -> Func<Nn> {
    let plain = with_bias([0.0; 4]);
    let mut mean = [0.0; 4];
    for image in images {
        let logits = interp::nn::run(&plain, &tensor(image)).expect("it runs").remove(0);
        mean.iter_mut().zip(logits.data()).for_each(|(sum, x)| *sum += x / images.len() as f32);
    }
    with_bias(mean.map(|mean| -mean))
}

fn with_bias(bias: [f32; 4]) -> Func<Nn> {
    let still = "strides=[1, 1], pads=[1, 1, 1, 1], dilations=[1, 1], groups=1";
    let text = format!(
        r#"func nn blame {{
            const @0 : f32[4, 1, 3, 3] = random(1) const @1 : f32[4] = [0.3, -0.2, 0.1, 0.0]
            const @2 : f32[8, 4, 3, 3] = random(2) const @3 : f32[8, 4, 1, 1] = random(3)
            const @4 : f32[4, 8] = random(4) const @5 : f32[4, 1, 1] = [1.0, 0.25, 0.5, 0.125]
            const @6 : f32[4] = {bias:?}
            input %0 : f32[1, 1, 8, 8] "image"
            %1 = conv2d(%0) {{weight=@0, bias=@1, {still}}} "conv"
            %2 = constant() {{value=@5}}
            %3 = mul(%1, %2) "scaled"
            %4 = relu(%3) "first"
            %5 = conv2d(%4) {{weight=@2, strides=[2, 2], pads=[1, 1, 1, 1], dilations=[1, 1], groups=1}} "block"
            %6 = conv2d(%4) {{weight=@3, strides=[2, 2], pads=[0, 0, 0, 0], dilations=[1, 1], groups=1}} "shortcut"
            %7 = relu(%5) "second"
            %8 = add(%7, %6) "sum"
            %9 = reduce_mean(%8) {{axes=[2, 3], keep_dims=false}} "pooled"
            %10 = dense(%9) {{weight=@4, bias=@6}} "logits"
            return %10
        }}"#
    );
    parse_func(&text, &ConstSource::default()).expect("it is a network")
}

/// Brightness, slopes and some noise: pictures that pooling tells apart.
fn images(count: usize) -> Vec<Vec<f32>> {
    let random = |image: usize, i: usize| {
        let word = ((image * 67 + i) as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((word ^ (word >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let pixel = |image: usize, i: usize| {
        let (x, y) = ((i % 8) as f32 / 3.5 - 1.0, (i / 8) as f32 / 3.5 - 1.0);
        let plane = random(image, 64) + x * random(image, 65) + y * random(image, 66);
        0.3 * plane + 0.1 * random(image, i)
    };
    (0..count).map(|image| (0..64).map(|i| pixel(image, i)).collect()).collect()
}

fn tensor(image: &[f32]) -> Vec<Tensor> {
    vec![Tensor::new([1, 1, 8, 8], image).expect("64 pixels")]
}

fn logits(network: &Func<Nn>, image: &[f32]) -> Vec<f64> {
    let logits = interp::nn::run(network, &tensor(image)).expect("it runs").remove(0);
    logits.data().iter().map(|&x| f64::from(x)).collect()
}

fn class(network: &Func<Nn>, image: &[f32]) -> usize {
    argmax(&logits(network, image))
}

/// Whether the best logit is well above the second.
fn is_clear(network: &Func<Nn>, image: &[f32]) -> bool {
    let mut sorted = logits(network, image);
    sorted.sort_by(f64::total_cmp);
    sorted[3] - sorted[2] > 0.2 * (sorted[3] - sorted[0])
}

/// The program with the fits given, or with ReLUs fitted to `images` at depth 7.
fn compiled(
    network: &Func<Nn>,
    images: &[Vec<f32>],
    known: Option<Activations>,
    scale: Option<u32>,
) -> (Arc<Program>, Option<Activations>) {
    let samples: Vec<Vec<Tensor>> = images.iter().map(|image| tensor(image)).collect();
    let ranges = BTreeMap::new();
    let (source, relu) = match &known {
        Some(_) => (Source::Table { ranges: &ranges, input: Range::new(-1.0, 1.0) }, Relu::Default),
        None => (Source::Images(&samples), Relu::Depth(7)),
    };
    // A scale that is asked for may be one that noise drowns answers at.
    let allow_inaccurate = scale.is_some();
    let options = CompileOptions { relu, log_scale: scale, allow_inaccurate, ..CompileOptions::default() };
    let knowledge = Knowledge { source, activations: known.as_ref(), noise: None };
    let compiled = compile(network, &knowledge, &options, &mut |_, _| ()).expect("it compiles");
    let preprocess = Preprocess::default();
    let made = Program::new(compiled.program, compiled.params, network.clone(), compiled.plan, preprocess);
    // What is blamed is what a file holds.
    let bytes = made.expect("its parts fit").to_bytes();
    (Arc::new(Program::from_bytes(&bytes, 128).expect("it was just made")), compiled.activations)
}

/// The images whose class is wrong with noise, and what flips them.
fn blamed(program: &Arc<Program>, images: &[Vec<f32>]) -> Vec<Blame> {
    let noisy = Simulator::new(program, false);
    let blamer = Blamer::new(program, &noisy).unwrap();
    let mut found = Vec::new();
    for (seed, image) in images.iter().enumerate() {
        let expected = class(program.reference().unwrap(), image);
        let answer = noisy.logits(image, seed as u64).unwrap();
        let blame = blamer.blame(image, seed as u64, expected).unwrap();
        assert_eq!(blame.is_some(), argmax(&answer) != expected, "image {seed}");
        found.extend(blame);
    }
    found
}

#[test]
fn a_coarse_activation_is_blamed() {
    let mut images = images(160);
    let network = network(&images);
    images.retain(|image| is_clear(&network, image));
    assert!(images.len() > 60, "{}", images.len());
    let (program, fits) = compiled(&network, &images, None, None);
    let classes: BTreeSet<usize> = images.iter().map(|image| class(&network, image)).collect();
    assert!(classes.len() > 1, "{classes:?}");
    assert_eq!(blamed(&program, &images), [], "fine polynomials flip nothing");
    layers_hold_the_networks_values(&program, &images[..3]);
    let fits = fits.expect("ReLUs were fitted");
    for (index, name) in ["first", "second"].into_iter().enumerate() {
        let mut coarse = fits.clone();
        assert_eq!(coarse.activations[index].activation, name);
        // An even parabola: far from a ReLU.
        coarse.activations[index].chebyshev.truncate(3);
        coarse.activations[index].chebyshev[1] = 0.0;
        let (program, _) = compiled(&network, &images, Some(coarse), None);
        let found = blamed(&program, &images);
        assert!(found.len() > 3, "{} images differ", found.len());
        let expected = Blame { cause: Cause::Approximation, layer: name.into() };
        assert!(found.iter().all(|blame| *blame == expected), "{name}: {found:?}");
    }
}

/// With everything before it as in the plain network, a linear layer of the program is the
/// network's, channel by channel, and an activation nearly.
fn layers_hold_the_networks_values(program: &Arc<Program>, images: &[Vec<f32>]) {
    let layers = Layers::of(program).unwrap();
    let mut names: Vec<&str> = layers.iter().map(|layer| layer.stored.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["block", "first", "logits", "scaled", "second", "shortcut", "sum"]);
    assert!(layers.iter().any(|layer| layer.stored.channels.len() > 1), "channels were equalised");
    let clear = Simulator::new(program, true);
    for image in images {
        let plain = layers.plain(image).unwrap();
        let mut known = BTreeMap::new();
        for (layer, expected) in layers.iter().zip(&plain) {
            let mut found = Vec::new();
            clear
                .answer_from(image, 0, known.clone(), &mut |value, slots| {
                    if value == layer.value {
                        found = layer.unpack(slots);
                    }
                })
                .unwrap();
            let largest = expected.iter().fold(0.0f64, |m, x| m.max(x.abs()));
            let worst = found.iter().zip(expected).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
            let tolerance =
                if ["first", "second"].contains(&layer.stored.name.as_str()) { 0.05 } else { 1e-5 };
            assert_eq!(found.len(), expected.len());
            assert!(worst <= tolerance * largest, "{}: {worst} of {largest}", layer.stored.name);
            known.insert(layer.value, layer.pack(expected.iter().copied()));
        }
    }
}

/// Two classes that differ by less than the noise of a small scale, but more than single precision:
/// noise alone decides.
#[test]
fn noise_is_blamed_where_the_class_is_right_without() {
    let text = r#"func nn tie {
        const @0 : f32[3, 64] = random(1) const @1 : f32[2, 3] = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0] const @2 : f32[2] = [0.0, 0.00002]
        input %0 : f32[1, 1, 8, 8] "image"
        %1 = reshape(%0) {shape=[1, 64]}
        %2 = dense(%1) {weight=@0} "hidden"
        %3 = mul(%2, %2) "square"
        %4 = dense(%3) {weight=@1, bias=@2} "logits"
        return %4
    }"#;
    let network: Func<Nn> = parse_func(text, &ConstSource::default()).unwrap();
    let images = images(100);
    let (program, _) = compiled(&network, &images, None, Some(26));
    let found = blamed(&program, &images);
    assert!((5..95).contains(&found.len()), "{} images differ", found.len());
    assert!(found.iter().all(|blame| blame.cause == Cause::Noise), "{found:?}");
    // The last layer has noise of its own in both logits; noise before it reaches them by other
    // copies.
    assert!(found.iter().any(|blame| blame.layer == "logits"), "{found:?}");
}
