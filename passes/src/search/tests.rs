use super::*;
use crate::options::SecurityLevel;
use fhec_ir::ckks::Op;
use fhec_ir::fact::{INPUT_LAYOUTS, OUTPUT_FACTOR, OUTPUT_LAYOUTS};
use fhec_ir::interp::{nn, run_ckks};
use fhec_ir::layout::Layout;
use fhec_ir::plan::LEAST_LOG2;
use fhec_ir::tensor::Tensor;
use fhec_ir::text::{ConstSource, parse_func};

fn parse(body: &str) -> Func<Nn> {
    parse_func(&format!("func nn test {{ {body} }}"), &ConstSource::default()).unwrap()
}

/// A smooth stand-in for a ReLU: Chebyshev series of `x/2 + |x|/2` with the coefficients of `|x|`.
fn relu(degree: usize) -> String {
    let mut coefficients = vec!["0.318".to_string(), "0.5".to_string()];
    for k in 2..=degree {
        let half = (k / 2) as f64;
        let sign = if (k / 2) % 2 == 1 { 1.0 } else { -1.0 };
        let value = sign * 2.0 / (std::f64::consts::PI * (4.0 * half * half - 1.0));
        coefficients.push(if k % 2 == 0 { format!("{value:?}") } else { "0.0".into() });
    }
    format!("{{polynomial={{domain=[-1.0, 1.0], chebyshev=[{}]}}}}", coefficients.join(", "))
}

/// Weights as small as trained and normalised ones, so that every polynomial stays in its domain.
fn small_weights(func: &mut Func<Nn>) {
    let scaled = |tensor: &Tensor| {
        let fan_in: usize = tensor.shape().iter().skip(1).product::<usize>().max(4);
        Tensor::from_fn(tensor.shape(), |i| tensor.data()[i] * 0.5 / (fan_in as f32).sqrt())
    };
    let consts: Vec<Tensor> = func.consts.iter().map(|(_, tensor)| scaled(tensor)).collect();
    func.consts = Default::default();
    consts.into_iter().for_each(|tensor| {
        func.consts.add(tensor);
    });
}

/// The shapes of a LeNet with poolings folded into the convolutions after them.
fn lenet(degree: usize) -> Func<Nn> {
    let mut func = parse(&format!(
        "const @0 : f32[8, 1, 5, 5] = random(1) const @1 : f32[8] = random(2)
         const @2 : f32[16, 8, 6, 6] = random(3) const @3 : f32[16] = random(4)
         const @4 : f32[10, 3136] = random(5) const @5 : f32[10] = random(6)
         meta output_factor = 8.0
         input %0 : f32[1, 1, 28, 28] \"image\"
         %1 = conv2d(%0) {{weight=@0, bias=@1, strides=[1, 1], pads=[2, 2, 2, 2], dilations=[1, 1], groups=1}} \"conv1\"
         %2 = poly(%1) {activation} \"relu1\"
         %3 = conv2d(%2) {{weight=@2, bias=@3, strides=[2, 2], pads=[2, 2, 2, 2], dilations=[1, 1], groups=1}} \"conv2\"
         %4 = poly(%3) {activation} \"relu2\"
         %5 = reshape(%4) {{shape=[1, 3136]}}
         %6 = dense(%5) {{weight=@4, bias=@5}} \"logits\"
         return %6",
        activation = relu(degree)
    ));
    small_weights(&mut func);
    func
}

/// Runs network and program on an image and compares logits, to `tolerance`.
fn check(network: &Func<Nn>, scheduled: &Scheduled, tolerance: f64) {
    let shape = &network.ty(network.inputs()[0]).shape;
    let image = Tensor::from_fn(shape.clone(), |i| ((i * 7919) % 2003) as f32 / 2003.0 - 0.5);
    let expected = nn::run(network, std::slice::from_ref(&image)).unwrap();
    let program = &scheduled.program;
    let [input]: [Layout; 1] = program.fact(INPUT_LAYOUTS).unwrap().try_into().unwrap();
    let [output]: [Layout; 1] = program.fact(OUTPUT_LAYOUTS).unwrap().try_into().unwrap();
    let doubles = |tensor: &Tensor| tensor.data().iter().map(|&x| f64::from(x)).collect::<Vec<f64>>();
    let result = run_ckks(program, &[input.pack(&doubles(&image))]).unwrap();
    for (found, expected) in output.unpack(&result[0]).iter().zip(doubles(&expected[0])) {
        assert!((found - expected).abs() < tolerance, "{found} instead of {expected}");
    }
}

#[test]
fn a_lenet_is_scheduled_at_128_bits() {
    let network = lenet(62);
    let mut names = Vec::new();
    let scheduled = search(&network, &SearchOptions::default(), &mut |pass, _| names.push(pass)).unwrap();
    check(&network, &scheduled, 1e-4);
    assert_eq!(
        names,
        [
            "lower",
            "common_subexpr",
            "lower_packed",
            "absorb_sines",
            "place_relinearizations",
            "place_rescales",
            "select_rotation_keys",
            "schedule"
        ]
    );
    let Scheduled { params, estimate, considered, .. } = &scheduled;
    for row in considered {
        eprintln!("{row:?}");
    }
    eprintln!(
        "{} {:.2} s, keys {} MB, plaintexts {} MB, peak {} MB, {:.1} / {:.1} bits",
        params.name(),
        estimate.seconds,
        estimate.key_bytes >> 20,
        estimate.plaintext_bytes >> 20,
        estimate.peak_bytes >> 20,
        estimate.error_bits_mean,
        estimate.error_bits_worst
    );
    fhec_ir::security::check(params, 128).unwrap();
    assert_eq!(params.top_level(), 3 + 2 * 6);
    assert_eq!(considered.iter().filter(|row| row.verdict == "chosen").count(), 1);
    // Each of the priced sets, the chosen one as well.
    assert_eq!(scheduled.compiled, considered.iter().filter(|row| row.seconds > 0.0).count());
    assert!(
        estimate.error_bits_worst >= (8.0f64 / 1e-4).log2()
            && estimate.log2_failure_probability == LEAST_LOG2
    );
    assert_eq!(scheduled.program.fact(OUTPUT_FACTOR).unwrap(), 8.0);
}

#[test]
fn the_same_input_gives_the_same_program() {
    let network = lenet(14);
    let print = || {
        let scheduled = search(&network, &SearchOptions::default(), &mut |_, _| ()).unwrap();
        (fhec_ir::text::print_func(&scheduled.program), scheduled.params.fingerprint(None))
    };
    assert_eq!(print(), print());
}

#[test]
fn what_was_asked_for_limits_what_is_chosen() {
    let network = lenet(14);
    let with = |params: ParamOptions| {
        let options = SearchOptions { params, ..SearchOptions::default() };
        search(&network, &options, &mut |_, _| ())
    };
    let free = with(ParamOptions::default()).unwrap();
    let ram = Some(free.estimate.peak_bytes - free.estimate.key_bytes / 4);
    let small = with(ParamOptions { ram, ..ParamOptions::default() }).unwrap();
    check(&network, &small, 1e-4);
    assert!(Some(small.estimate.peak_bytes) <= ram);
    let in_ram = |bytes: u64| with(ParamOptions { ram: Some(bytes), ..ParamOptions::default() });
    let Err(PassError::Params(ChooseParamsError::Memory { needed, nearest, .. })) = in_ram(1 << 20) else {
        panic!("a megabyte cannot be enough")
    };
    assert!(needed > 1 << 20 && needed == nearest.peak_bytes);
    // The nearest plan is one: with what it needs it is found, and with a byte less nothing is.
    let least = in_ram(needed).unwrap();
    assert_eq!((least.estimate.peak_bytes, least.estimate.seconds), (needed, nearest.seconds));
    assert!(least.estimate.peak_bytes < small.estimate.peak_bytes);
    // Precision is only wished for: with less memory a plan may be faster, but then it is coarser.
    for (more, less) in [(&free, &small), (&small, &least)] {
        let (more, less) = (&more.estimate, &less.estimate);
        assert!(more.seconds <= less.seconds || less.error_bits_worst < more.error_bits_worst);
    }
    let Err(PassError::Params(ChooseParamsError::Memory { needed: again, .. })) = in_ram(needed - 1) else {
        panic!("less than the least cannot be enough")
    };
    assert_eq!(again, needed);

    let strong = with(ParamOptions { security: SecurityLevel::Bits256, ..ParamOptions::default() }).unwrap();
    fhec_ir::security::check(&strong.params, 256).unwrap();
    assert!(strong.params.log_n() > free.params.log_n());

    let coarse = with(ParamOptions { precision_bits: Some(10.0), ..ParamOptions::default() }).unwrap();
    assert!((10.0..free.estimate.error_bits_worst).contains(&coarse.estimate.error_bits_worst));
    let precise = with(ParamOptions { precision_bits: Some(45.0), ..ParamOptions::default() });
    assert!(matches!(precise, Err(PassError::Params(ChooseParamsError::Precision { wanted: 45.0, .. }))));
}

/// Pictures whose tensors take several ciphertexts: 16 x 64 x 64 takes four of 2^14 slots, and a
/// stride leaves fewer.
#[test]
fn a_residual_network_on_large_pictures_spans_ciphertexts() {
    let conv = |x: usize, weight: usize, stride: usize, pad: usize| {
        format!(
            "conv2d(%{x}) {{weight=@{weight}, strides=[{stride}, {stride}], pads=[{pad}, {pad}, {pad}, {pad}], dilations=[1, 1], groups=1}}"
        )
    };
    let mut network = parse(&format!(
        "const @0 : f32[16, 3, 3, 3] = random(1) const @1 : f32[16, 16, 3, 3] = random(2)
         const @2 : f32[32, 16, 3, 3] = random(3) const @3 : f32[32, 16, 1, 1] = random(4)
         const @4 : f32[32, 32, 3, 3] = random(5) const @5 : f32[10, 32] = random(6)
         input %0 : f32[1, 3, 64, 64] \"image\"
         %1 = {} %2 = poly(%1) {relu}
         %3 = {} %4 = poly(%3) {relu} %5 = {} %6 = add(%2, %5) %7 = poly(%6) {relu}
         %8 = {} %9 = poly(%8) {relu} %10 = {} %11 = {} %12 = add(%10, %11) %13 = poly(%12) {relu}
         %14 = reduce_mean(%13) {{axes=[2, 3], keep_dims=false}} %15 = dense(%14) {{weight=@5}}
         return %15",
        conv(0, 0, 1, 1),
        conv(2, 1, 1, 1),
        conv(4, 1, 1, 1),
        conv(7, 2, 2, 1),
        conv(9, 4, 1, 1),
        conv(7, 3, 2, 0),
        relu = relu(30)
    ));
    small_weights(&mut network);
    let params = ParamOptions { max_log_n: 15, ..ParamOptions::default() };
    let options = SearchOptions { params, ..SearchOptions::default() };
    let scheduled = search(&network, &options, &mut |_, _| ()).unwrap();
    check(&network, &scheduled, 1e-4);
    let program = &scheduled.program;
    let vectors = program.ops().iter().map(|data| program.ty(data.result).vectors).max();
    assert_eq!(vectors, Some(4));
    let bootstraps = program.ops().iter().filter(|data| matches!(data.op, Op::Bootstrap { .. }));
    assert!(bootstraps.map(|data| program.ty(data.result).vectors).sum::<usize>() > 4);
}

/// The stem of a network on 224 x 224 pictures: 16 x 112 x 112 takes 13 ciphertexts of 2^14 slots.
#[test]
fn a_stem_on_224_x_224_pictures_lowers() {
    let mut network = parse(&format!(
        "const @0 : f32[16, 3, 7, 7] = random(1)
         input %0 : f32[1, 3, 224, 224] \"image\"
         %1 = conv2d(%0) {{weight=@0, strides=[2, 2], pads=[3, 3, 3, 3], dilations=[1, 1], groups=1}}
         %2 = poly(%1) {} return %2",
        relu(14)
    ));
    small_weights(&mut network);
    let options = SearchOptions::default();
    let packed = in_slots(&network, 15, &options).unwrap().result.func;
    let vectors = packed.ops().iter().map(|data| packed.ty(data.result).vectors).max().unwrap();
    assert!((13..=16).contains(&vectors), "{vectors}");
}

/// So many polynomials of five levels, one after the other.
fn polynomials(count: usize) -> Func<Nn> {
    let body = (0..count).map(|i| format!("%{} = poly(%{i}) {}", i + 1, relu(30))).collect::<Vec<_>>();
    parse(&format!("input %0 : f32[1, 16] {} return %{count}", body.join("\n")))
}

#[test]
fn too_deep_a_network_is_bootstrapped() {
    let network = polynomials(40);
    let scheduled = search(&network, &SearchOptions::default(), &mut |_, _| ()).unwrap();
    // Polynomials that undo a sine are those of the network to a 2,048th.
    check(&network, &scheduled, 1.0 / 2048.0);
    fhec_ir::security::check(&scheduled.params, 128).unwrap();
    let program = &scheduled.program;
    let bootstraps = program.ops().iter().filter(|data| matches!(data.op, Op::Bootstrap { .. })).count();
    let levels = BootstrapParams::of_program(program).unwrap()[0].usable_levels();
    // 200 levels, of which a window holds a whole number of polynomials of five.
    assert_eq!(bootstraps, 40usize.div_ceil(usize::from(levels) / 5) - 1);
    assert_eq!(scheduled.considered.iter().filter(|row| row.verdict == "chosen").count(), 1);
    assert_eq!(scheduled.compiled, scheduled.considered.iter().filter(|row| row.seconds > 0.0).count());
    // Every bootstrap is known by the value that it refreshes, and no two refresh the same.
    let placed = scheduled.placed.unwrap();
    let refreshed: std::collections::BTreeSet<_> = placed.sites.iter().map(|(_, value)| value).collect();
    assert_eq!((placed.sites.len(), refreshed.len()), (bootstraps, bootstraps));
    assert_eq!(refreshed, placed.placement.refresh_order(&scheduled.packed).iter().collect());

    // No bootstrapping fits a small ring, and nobody is advised to try it.
    let params = ParamOptions { max_log_n: 13, ..ParamOptions::default() };
    let options = SearchOptions { params, ..SearchOptions::default() };
    let error = search(&network, &options, &mut |_, _| ()).unwrap_err();
    assert!(matches!(error, PassError::Params(ChooseParamsError::TooDeep { depth: 200, .. })), "{error}");
    let message = error.to_string();
    assert!(
        message.contains("no parameters with bootstrapping") && message.ends_with("a lower security level")
    );
}

/// A set that lacks a bit of precision is taken where those that do not are much slower, and says
/// so; not where it lacks more, or where precision was asked for.
#[test]
fn a_bit_of_precision_counts_as_a_quarter_of_the_time() {
    let (network, options) = (lenet(6), SearchOptions::default());
    let mut search = Search::of(&network, &options).unwrap();
    search.without_bootstraps().unwrap();
    let (built, candidate, _) = search.chosen().unwrap();
    let chosen_of = |sets: &[(f64, f64)], asked: &ParamOptions| {
        let mut verdicts = Verdicts::default();
        verdicts.wanted = 10.0;
        for &(seconds, bits) in sets {
            let mut built = built.clone();
            (built.estimate.seconds, built.estimate.error_bits_worst) = (seconds, bits);
            verdicts.judge(candidate.clone(), built, row(&candidate), None);
        }
        let taken = verdicts.choose(asked, 5);
        let Ok(taken) = taken else { panic!("there is a set") };
        let remark = verdicts.remark(&taken);
        let rows = verdicts.considered.iter().filter(|row| row.verdict == Considered::CHOSEN);
        assert_eq!(rows.count(), 1);
        (taken.built.estimate.seconds, remark)
    };
    let chosen = |sets: &[(f64, f64)], precision_bits: Option<f64>| {
        chosen_of(sets, &ParamOptions { precision_bits, ..ParamOptions::default() })
    };
    // An agreement that was asked for is kept.
    let asked = ParamOptions { agreement_asked: true, ..ParamOptions::default() };
    assert_eq!(chosen_of(&[(1.0, 9.5), (1.2, 10.5)], &asked), (1.2, None));
    assert_eq!(chosen_of(&[(1.0, 9.5), (1.2, 9.7)], &asked).0, 1.0);
    // A bit is worth a quarter of the time: half a bit an eighth.
    assert_eq!(chosen(&[(1.0, 9.5), (1.1, 10.5)], None), (1.1, None));
    let (seconds, remark) = chosen(&[(1.0, 9.5), (1.2, 10.5)], None);
    assert_eq!(seconds, 1.0);
    let remark = remark.unwrap();
    let says = |part: &str| assert!(remark.contains(part), "{remark}");
    ["2^-9.5", "2^-10.0", "1.2 times"].into_iter().for_each(says);
    assert_eq!(chosen(&[(1.0, 9.5), (2.0, 10.5)], Some(10.0)), (2.0, None));
    // Of several that lack some, time and precision count, in any order.
    assert_eq!(chosen(&[(1.0, 9.0), (1.05, 9.9), (2.0, 10.5)], None).0, 1.05);
    assert_eq!(chosen(&[(1.05, 9.9), (1.0, 9.0)], None).0, 1.05);
    // More than a bit and a half is lacked only where there is nothing else.
    assert_eq!(chosen(&[(1.0, 8.4), (9.0, 10.5)], None).0, 9.0);
    assert_eq!(chosen(&[(1.0, 8.4), (9.0, 8.6)], None).0, 9.0);
    assert_eq!(chosen(&[(1.0, 7.0), (9.0, 8.0)], None).0, 9.0);
}

/// A chain of 60 levels holds eleven polynomials, but its first ones are dear: two bootstraps in a
/// smaller ring take less time, and less memory.
#[test]
fn a_chain_that_holds_the_program_is_compared_with_bootstraps() {
    let network = polynomials(11);
    let scheduled = search(&network, &SearchOptions::default(), &mut |_, _| ()).unwrap();
    check(&network, &scheduled, 1e-4);
    let found = |bootstraps: bool| {
        let compiled = scheduled.considered.iter().filter(|row| row.seconds > 0.0);
        let rows = compiled.filter(|row| (row.bootstraps > 0) == bootstraps);
        rows.map(|row| row.seconds).fold(f64::INFINITY, f64::min)
    };
    assert!(found(true) < found(false), "{} and {}", found(true), found(false));
    assert!(scheduled.placed.is_some());
}

/// Sample images say which errors are tolerated: outputs whose classes are close to each other are
/// computed more precisely.
#[test]
fn tolerated_errors_are_kept() {
    let network = lenet(14);
    let bits_with = |tolerated_error: Option<f64>, noise_factor: f64| {
        let params = ParamOptions { tolerated_error, noise_factor, ..ParamOptions::default() };
        let options = SearchOptions { params, ..SearchOptions::default() };
        search(&network, &options, &mut |_, _| ()).unwrap().estimate.error_bits_worst
    };
    let bits = |tolerated_error| bits_with(tolerated_error, 1.0);
    let found = bits(Some(1e-6));
    // Outputs are stored over 8.
    assert!(found >= (8.0 * EXACTER / 1e-6).log2(), "2^-{found}");
    assert!(found > bits(None) + 1.0, "2^-{found}");
    // Noise that is larger than predicted has to be predicted to be smaller.
    let factored = bits_with(Some(8e-6), 8.0);
    assert!(factored >= (8.0 * EXACTER / 1e-6).log2(), "2^-{factored}");
}
