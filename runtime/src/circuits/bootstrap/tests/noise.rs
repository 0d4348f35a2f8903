//! The errors of the toy's bootstraps against [`fhec_ir::noise::bootstrap`], phase by phase, and
//! the simulator's.

use super::*;
use fhec_ir::polynomial::Polynomial;

use crate::ckks::special_fft::SpecialFft;
use crate::exec::{EncryptionKind, Overflow, Simulation};

/// `log2` of the deviation of `errors` over that of `variance`.
pub(super) fn excess_bits(errors: impl Iterator<Item = f64>, variance: f64) -> f64 {
    let squares: Vec<f64> = errors.map(|e| e * e).collect();
    (squares.iter().sum::<f64>() / squares.len() as f64 / variance).log2() / 2.0
}

/// Each phase adds the variance it should. 2048 normal errors show their deviation to 1/64, 0.023
/// bits; five of those, and as much for what the model leaves out.
const PHASE_TOLERANCE: f64 = 0.25;

fn phases_add_their_errors(bootstrap: BootstrapParams, secret: Secret) {
    let (log_slots, ephemeral) = (bootstrap.log_slots, bootstrap.ephemeral_weight.is_some());
    let last = bootstrap.order == Order::SlotsToCoeffsLast;
    let rig = Rig::new(bootstrap, 10, secret);
    let (b, evaluator, params) = (&rig.bootstrapper, rig.evaluator(), rig.context.params());
    let into_slots = b.bootstrap_params().raises_into_slots(params);
    let slots = 1usize << log_slots;
    let (input, output) = (b.bootstrap_params().input_level(), b.bootstrap_params().output_level);
    let noise = BootstrapNoise::new(b.bootstrap_params(), params, input, output).unwrap();
    // Where slots are sums over coefficients: what is in a coefficient of a slot's variance.
    let share = if last { 1.0 / (2 * slots - 1) as f64 } else { 1.0 };
    let message = reals(slots, 21);
    let power = message.iter().map(|z| z.re * z.re).sum::<f64>() / slots as f64;
    let gap = params.slots() / slots;
    let coefficients = |a: &Ciphertext| -> Vec<f64> {
        let mut poly = Decryptor::new(&rig.context, &rig.secret).decrypt(a).unwrap().poly.clone();
        poly.to_coefficients(&rig.context);
        rig.context.centred_coefficients(&poly, 1)
    };
    let coefficient = |slot: usize| (slot.reverse_bits() >> (usize::BITS - log_slots)) * gap;
    let scale = params.canonical_scale(0).to_f64() * b.bootstrap_params().coefficient_gain();
    let q0 = params.q()[0] as f64;
    let check = |phase: &str, errors: &mut dyn Iterator<Item = f64>, variance: f64| {
        let excess = excess_bits(errors, variance);
        eprintln!("2^{log_slots} slots, {phase}: {excess:+.3} bits from 2^{:.2}", variance.log2() / 2.0);
        // Few slots show less: in proportion.
        let tolerance = PHASE_TOLERANCE * (2048.0 / slots as f64).sqrt();
        assert!(excess.abs() < tolerance, "{phase}: {excess:+.3} bits");
    };

    let a = rig.encrypt(&message, input).with_slots(slots);
    let operand = rig.decrypt(&a);
    let transform = noise.phases.slots_to_coeffs + noise.per_message_square * power;
    let (a, low) = if last {
        // What a conjugate makes of the coefficients; its key switch counts with the raising.
        let own = coefficients(&a);
        let other = |j: usize| if j == 0 { own[0] } else { -own[own.len() - j] };
        let low = (0..own.len()).map(|j| own[j] + other(j)).collect();
        (b.twice_real_part(&evaluator, a).unwrap(), low)
    } else {
        let a = b.slots_to_coeffs(&evaluator, a).unwrap();
        let low = coefficients(&a);
        let errors = &mut (0..slots).map(|i| low[coefficient(i)] / scale - operand[i].re);
        check("slots to coefficients", errors, transform);
        (a, low)
    };

    let low_ciphertext = a.clone();
    let a = b.raise_modulus(&evaluator, rig.keys.encapsulation(), &a, output).unwrap();
    let switched = match b.bootstrap_params().conserves_level {
        false => a.clone(),
        true => {
            let level = b.bootstrap_params().raised_level();
            let (keys, all) = (rig.keys.encapsulation(), Exchange::default());
            Raised::new(&rig.context, keys, &low_ciphertext, level, all, false).unwrap()
        }
    };
    let mut raised = coefficients(&switched.switch(&rig.context, rig.keys.encapsulation()).unwrap());
    let residue = |x: f64| x - (x / q0).round() * q0;
    let mut transforming = noise.phases.coeffs_to_slots;
    if into_slots {
        // The switch back is not part of the bootstrap: only the integers count, and both phases
        // are looked at together.
        transforming += noise.phases.raise_modulus;
        raised.iter_mut().zip(&low).for_each(|(x, low)| *x = (*x / q0).round() * q0 + low);
    } else if ephemeral || last {
        let errors = &mut (0..slots).map(|i| residue(raised[coefficient(i)] - low[coefficient(i)]) / scale);
        check("raising", errors, noise.phases.raise_modulus * share);
    } else {
        assert_eq!(noise.phases.raise_modulus, 0.0);
    }
    // The integers have their variance: its relative error is sqrt(2 / slots), of which five.
    let spread = noise.integers.iter().map(|i| i.probability * f64::from(i.integer).powi(2)).sum::<f64>();
    let found = (0..slots).map(|i| (raised[coefficient(i)] / q0).round().powi(2)).sum::<f64>() / slots as f64;
    assert!((found / spread - 1.0).abs() < 5.0 * (2.0 / slots as f64).sqrt(), "{found} for {spread}");

    let a = b.coeffs_to_slots(&evaluator, rig.keys.encapsulation(), a).unwrap();
    let a = b.argument(&evaluator, a).unwrap();
    let width = b.bootstrap_params().width();
    let arguments = rig.decrypt(&a);
    let message_of = |t: f64| (t * width + 0.25) * q0 / scale;
    let errors = &mut (0..slots).map(|i| message_of(arguments[i].re) - raised[coefficient(i)] / scale);
    check("coefficients to slots", errors, transforming * share);

    // The sine: each slot by its integer, normalised, so that all are one sample.
    let a = b.reduce(&evaluator, &a, output).unwrap();
    let reduced = rig.decrypt(&a);
    let errors = &mut (0..slots).map(|i| {
        let integer = (raised[coefficient(i)] / q0).round();
        let m = message_of(arguments[i].re) - integer * q0 / scale;
        let found = noise.integers.iter().find(|n| f64::from(n.integer) == integer).unwrap();
        (reduced[i].re - noise.reduction().apply(m, integer)) / found.variance.sqrt()
    });
    check("sine", errors, 1.0);

    if last {
        // With the imaginary parts, which are errors of the sine.
        let (mut expected, mut imaginary) = (vec![0.0; slots], vec![0.0; slots]);
        for (i, z) in reduced.iter().enumerate() {
            (expected[coefficient(i) / gap], imaginary[coefficient(i) / gap]) = (2.0 * z.re, 2.0 * z.im);
        }
        (expected[0], imaginary[0]) = (reduced[0].re, reduced[0].im);
        SpecialFft::new(slots).forward(&mut expected, &mut imaginary);
        let a = b.slots_to_coeffs(&evaluator, a).unwrap();
        let found = rig.decrypt(&b.twice_real_part(&evaluator, a).unwrap());
        let errors = &mut found.iter().zip(&expected).map(|(z, x)| z.re - x);
        check("slots to coefficients", errors, transform);
    }
}

#[test]
fn every_phase_adds_the_error_it_should() {
    let (full, sparse) = (LOG_N - 1, Secret::SparseTernary { hamming_weight: 32 });
    let coeffs_to_slots = raising_into_slots().coeffs_to_slots;
    phases_add_their_errors(bootstrap(full, false, true), Secret::UniformTernary);
    phases_add_their_errors(raising_into_slots(), Secret::UniformTernary);
    phases_add_their_errors(conserving_a_level(), Secret::UniformTernary);
    phases_add_their_errors(bootstrap(full, false, false), sparse);
    phases_add_their_errors(bootstrap(LOG_N - 4, false, true), Secret::UniformTernary);
    phases_add_their_errors(last(full, false, true), Secret::UniformTernary);
    phases_add_their_errors(
        BootstrapParams { coeffs_to_slots, ..last(full, false, true) },
        Secret::UniformTernary,
    );
    phases_add_their_errors(last(full, true, false), sparse);
    phases_add_their_errors(last(full, false, false), sparse);
    phases_add_their_errors(last(LOG_N - 4, false, true), Secret::UniformTernary);
}

#[test]
fn what_is_too_large_becomes_what_the_model_says() {
    let (slots, ratio) = (1 << (LOG_N - 1), 10);
    let rig = Rig::new(bootstrap(LOG_N - 1, false, true), ratio, Secret::UniformTernary);
    let params = rig.context.params();
    let noise = BootstrapNoise::new(rig.bootstrapper.bootstrap_params(), params, 2, 5).unwrap();
    // Up to 3/4 of the modulus: past the sine's crest, and around once.
    let message: Vec<Complex> = reals(slots, 23).iter().map(|z| Complex::new(768.0 * z.re, 0.0)).collect();
    let found = rig.decrypt(&rig.bootstrap(&rig.encrypt(&message, 2), 5).unwrap());
    // The toy's cosine is right everywhere, so the integer does not matter. Roundings of the
    // matrices grow with the message.
    let power = message.iter().map(|z| z.re * z.re).sum::<f64>() / slots as f64;
    let (_, variance) = noise.moments(0.0, power);
    let errors: Vec<f64> =
        found.iter().zip(&message).map(|(z, m)| z.re - noise.reduction().apply(m.re, 0.0)).collect();
    let excess = excess_bits(errors.into_iter(), variance);
    // Errors before the sine shrink by its slope, so the model is an upper bound here; wrong values
    // would be 2^20 deviations.
    assert!(excess < 1.0, "{excess:+.2} bits");
}

/// A program that refreshes its input from level 3, one above the bootstrap's, to level 4, one
/// below.
fn refresh(list: Vec<BootstrapParams>, slots: usize) -> Arc<Func<Ckks>> {
    let mut func: Func<Ckks> = Func::new("refresh");
    let x = func.add_input(CiphertextType::canonical(1, slots, 3), None);
    let y = func.push(Op::Bootstrap { x, level: 4, sine: None, mask: None }).unwrap();
    func.set_outputs(vec![y]);
    BootstrapParams::set_in_program(&mut func, &list);
    Arc::new(func)
}

#[test]
fn simulated_bootstraps_are_those_of_ciphertexts() {
    let slots = 1 << (LOG_N - 1);
    let rig = Rig::new(bootstrap(LOG_N - 1, false, true), 7, Secret::UniformTernary);
    let params = rig.context.params();
    let func = refresh(vec![bootstrap(6, false, true), bootstrap(LOG_N - 1, false, true)], slots);
    let simulation = Simulation::new(&func, params);
    let noise = BootstrapNoise::new(rig.bootstrapper.bootstrap_params(), params, 3, 4).unwrap();
    let ty = func.ty(func.inputs()[0]);
    let simulate = |message: &[f64], seed: u64| -> Vec<f64> {
        let run = simulation.run(seed);
        let input = run.encrypt(0, ty, vec![message.to_vec()], EncryptionKind::SecretKey);
        execute(&run, vec![input], &mut ()).unwrap().remove(0).remove(0)
    };
    let message: Vec<f64> = reals(slots, 25).iter().map(|z| z.re).collect();
    assert_eq!(simulate(&message, 1), simulate(&message, 1));
    assert_ne!(simulate(&message, 1), simulate(&message, 2));

    // One message many times: mean and deviation are those of the formula. With a kurtosis below 20
    // the deviation of 2^17 slots is known to sqrt(20 / 2^17) / 2 = 0.6 %, the mean to 1/362 of it;
    // five of each, and the input's own encryption adds less than that. The sine's cubic error here
    // is 2^-11.3, forty times what the mean may differ by.
    let constant = vec![0.9; slots];
    let (mean, variance) = noise.moments(0.9, 0.81);
    let errors: Vec<f64> = (0..64).flat_map(|seed| simulate(&constant, seed)).map(|y| y - mean).collect();
    let bias = errors.iter().sum::<f64>() / errors.len() as f64;
    assert!(
        bias.abs() < 5.0 * (variance / errors.len() as f64).sqrt(),
        "{bias:.2e} of {:.2e}",
        variance.sqrt()
    );
    assert!((mean - sine(0.9, 7)).abs() < 0.01 * (mean - 0.9).abs(), "the distortion is that of the sine");
    let excess = excess_bits(errors.into_iter(), variance);
    assert!(excess.abs() < 5.0 * 0.006 * std::f64::consts::LOG2_E, "{excess:+.3} bits");

    // And those of ciphertexts: 2048 slots each show their deviation to 0.07 bits; five of those
    // for the difference of two.
    let complex: Vec<Complex> = message.iter().map(|&m| Complex::new(m, 0.0)).collect();
    let encrypted = rig.decrypt(&rig.bootstrap(&rig.encrypt(&complex, 3), 4).unwrap());
    let against = |found: &[f64]| {
        let distorted = |m: &f64| noise.moments(*m, 0.0).0;
        excess_bits(found.iter().zip(&message).map(|(y, m)| y - distorted(m)), variance)
    };
    let encrypted = against(&encrypted.iter().map(|z| z.re).collect::<Vec<_>>());
    let simulated = against(&simulate(&message, 3));
    eprintln!("encrypted {encrypted:+.3} bits, simulated {simulated:+.3} from the formula");
    assert!((encrypted - simulated).abs() < 0.5, "encrypted {encrypted:+.3}, simulated {simulated:+.3} bits");
}

#[test]
fn a_run_of_slots_sees_what_ciphertexts_hide() {
    let slots = 1 << 6;
    let params = params(&bootstrap(6, false, true), 10, Secret::UniformTernary);
    let mut func: Func<Ckks> = Func::new("overflow");
    let x = func.add_input(CiphertextType::canonical(2, slots, 3), None);
    let y = func.push(Op::Bootstrap { x, level: 5, sine: None, mask: None }).unwrap();
    let square = Polynomial::chebyshev(vec![0.5, 0.0, 0.5], [-1.0, 1.0]).unwrap();
    let z = func.push(Op::Polynomial { x: y, polynomial: square }).unwrap();
    func.set_outputs(vec![z]);
    BootstrapParams::set_in_program(&mut func, &vec![bootstrap(6, false, true)]);
    let simulation = Simulation::new(&Arc::new(func), &params);
    let run_on = |change: &dyn Fn(&mut Vec<Vec<f64>>)| {
        let mut bundle = vec![vec![0.75; slots], vec![-0.75; slots]];
        change(&mut bundle);
        let run = simulation.run(5);
        let output = execute(&run, vec![bundle], &mut ()).unwrap().remove(0);
        (run.overflows(), output)
    };
    assert_eq!(run_on(&|_| ()).0, []);
    // The message is 600/1024 of the modulus: it comes back as the other residue, -424/1024, on the
    // sine's slope.
    let (overflows, output) = run_on(&|bundle| {
        bundle[0][3] = 1.5;
        bundle[1][63] = -600.0;
    });
    assert_eq!(overflows.len(), 2);
    assert_eq!(overflows[0], Overflow { op: 0, largest: 600.0, slots: 2 });
    let angle = 2.0 * PI * 424.0 / 1024.0;
    let wrapped = 1024.0 / (2.0 * PI) * angle.sin();
    let Overflow { op, largest, slots } = overflows[1];
    assert!((op, slots) == (1, 2) && (largest - wrapped).abs() < 0.1, "{largest}, not {wrapped}");
    assert!((output[1][63] / wrapped.powi(2) - 1.0).abs() < 0.01);
    let (overflows, _) = run_on(&|bundle| bundle[0][0] = f64::NAN);
    assert_eq!((overflows[0].largest, overflows[0].slots), (f64::MAX, 1));
}

#[test]
fn bootstraps_that_are_not_there_are_not_simulated() {
    let params = params(&bootstrap(6, false, true), 10, Secret::UniformTernary);
    let refused = |func: &Arc<Func<Ckks>>| {
        let simulation = Simulation::new(func, &params);
        execute(&simulation.run(0), vec![vec![vec![0.0; 1 << 6]]], &mut ()).unwrap_err().to_string()
    };
    let found = refused(&refresh(vec![bootstrap(7, false, true)], 1 << 6));
    assert!(found.contains("no bootstrap of 64 slots"), "{found}");
    let mut high: Func<Ckks> = Func::new("high");
    let x = high.add_input(CiphertextType::canonical(1, 1 << 6, 1), None);
    let y = high.push(Op::Bootstrap { x, level: 6, sine: None, mask: None }).unwrap();
    high.set_outputs(vec![y]);
    BootstrapParams::set_in_program(&mut high, &vec![bootstrap(6, false, true)]);
    let found = refused(&Arc::new(high));
    assert!(found.contains("from level 1 to 6"), "{found}");
    let misfit = BootstrapParams { bound: 1, ..bootstrap(6, false, true) };
    let found = refused(&refresh(vec![misfit], 1 << 6));
    assert!(found.contains("bound 1"), "{found}");
}
