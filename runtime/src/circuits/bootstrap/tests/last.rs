//! Slots to coefficients last.

use super::*;
use crate::exec::{EncryptionKind, Simulation};

/// Errors of `found` against `expected` in deviations that the model says, imaginary parts too:
/// they are errors, and smaller.
fn check(found: &[Complex], expected: impl Fn(usize) -> f64, variance: f64) {
    let deviation = variance.sqrt();
    let errors: Vec<f64> = found.iter().enumerate().map(|(i, z)| (z.re - expected(i)) / deviation).collect();
    // The deviation of n normal errors is known to 1 / sqrt(2n): five of those, and for the
    // secret's slots, which are the same in all roundings, a tenth of a bit.
    let tolerance = 0.1 + 5.0 * std::f64::consts::LOG2_E / (2.0 * errors.len() as f64).sqrt();
    let excess = excess_bits(errors.iter().copied(), 1.0);
    let worst = worst(found, expected) / deviation;
    eprintln!("{} slots: {excess:+.3} bits from 2^{:.2}, worst {worst:.1}", errors.len(), deviation.log2());
    assert!(excess.abs() < tolerance, "{excess:+.3} bits");
    assert!(worst < 7.0, "{worst:.1} deviations");
}

fn power(message: &[Complex]) -> f64 {
    message.iter().map(|z| z.re * z.re).sum::<f64>() / message.len() as f64
}

#[test]
fn a_message_comes_back_from_level_zero() {
    let secrets = [(true, Secret::UniformTernary), (false, Secret::SparseTernary { hamming_weight: 32 })];
    for (ephemeral, secret) in secrets {
        for log_slots in [LOG_N - 1, LOG_N - 2, 6] {
            let (slots, ratio) = (1 << log_slots, 10);
            let rig = Rig::new(last(log_slots, false, ephemeral), ratio, secret);
            // An imaginary part is dropped, not mixed in.
            let message = random_slots(slots, 3);
            let result = rig.bootstrap(&rig.encrypt(&message, 0), 3).unwrap();
            assert_eq!((result.level(), result.slots()), (3, slots));
            assert_eq!(result.scale(), Scale::canonical(3));
            let noise = BootstrapNoise::new(rig.bootstrapper.bootstrap_params(), rig.context.params(), 0, 3);
            let (_, variance) = noise.unwrap().moments(0.0, power(&message));
            // Coefficients are so small that the sine is straight, but for the mean of the few
            // slots.
            check(&rig.decrypt(&result), |i| message[i].re, variance);
        }
    }
}

#[test]
fn chains_start_from_any_level() {
    let rig = Rig::new(last(6, true, true), 7, Secret::UniformTernary);
    let message = reals(1 << 6, 11);
    let (mut value, mut sum) = (rig.encrypt(&message, 2), 0.0);
    for level in [3, 1, 0, 2] {
        let noise = BootstrapNoise::new(
            rig.bootstrapper.bootstrap_params(),
            rig.context.params(),
            value.level(),
            level,
        );
        value = rig.bootstrap(&value, level).unwrap();
        assert_eq!((value.level(), value.scale()), (level, Scale::canonical(level)));
        sum += noise.unwrap().moments(0.0, power(&message)).1;
        check(&rig.decrypt(&value), |i| message[i].re, sum);
    }
}

/// The sine acts on coefficients: slots that are all alike are one coefficient, and distorted like
/// it; alternating ones are not.
#[test]
fn the_sine_bends_coefficients() {
    let (slots, ratio) = (1 << 6, 5);
    let rig = Rig::new(last(6, false, true), ratio, Secret::UniformTernary);
    let params = rig.context.params();
    let noise = BootstrapNoise::new(rig.bootstrapper.bootstrap_params(), params, 0, 3).unwrap();
    let func = refresh(last(6, false, true), slots);
    let simulation = Simulation::new(&func, params);
    let simulate = |message: &[Complex]| -> Vec<Complex> {
        let run = simulation.run(7);
        let message = message.iter().map(|z| z.re).collect();
        let input = run.encrypt(0, func.ty(func.inputs()[0]), vec![message], EncryptionKind::SecretKey);
        let result = execute(&run, vec![input], &mut ()).unwrap().remove(0).remove(0);
        result.into_iter().map(|re| Complex::new(re, 0.0)).collect()
    };
    let (_, variance) = noise.moments(0.0, 1.0);
    let alike = vec![Complex::new(1.0, 0.0); slots];
    let bent = sine(1.0, ratio);
    assert!(1.0 - bent > 50.0 * variance.sqrt(), "{bent} is seen behind errors of {:.2e}", variance.sqrt());
    // Coefficient 5 alone: the cosines at the roots of the slots.
    let mut root = 1;
    let cosines: Vec<Complex> = (0..slots)
        .map(|_| {
            let angle = 2.0 * PI * (5 * root % (4 * slots)) as f64 / (4 * slots) as f64;
            root = root * 5 % (4 * slots);
            Complex::new(angle.cos(), 0.0)
        })
        .collect();
    for found in [rig.decrypt(&rig.bootstrap(&rig.encrypt(&alike, 0), 3).unwrap()), simulate(&alike)] {
        check(&found, |_| bent, variance);
    }
    let found = [rig.decrypt(&rig.bootstrap(&rig.encrypt(&cosines, 0), 3).unwrap()), simulate(&cosines)];
    for found in found {
        // A cosine of size 1 is a coefficient of 1/2.
        check(&found, |i| cosines[i].re * 2.0 * sine(0.5, ratio), variance);
    }
}

/// A program that refreshes its input from level 0 to level 3.
fn refresh(bootstrap: BootstrapParams, slots: usize) -> Arc<Func<Ckks>> {
    let mut func: Func<Ckks> = Func::new("refresh");
    let x = func.add_input(CiphertextType::canonical(1, slots, 0), None);
    let y = func.push(Op::Bootstrap { x, level: 3, sine: None, mask: None }).unwrap();
    func.set_outputs(vec![y]);
    BootstrapParams::set_in_program(&mut func, &vec![bootstrap]);
    Arc::new(func)
}

#[test]
fn programs_are_run_and_simulated_alike() {
    let slots = 1 << (LOG_N - 1);
    let rig = Rig::new(last(LOG_N - 1, false, true), 8, Secret::UniformTernary);
    let params = rig.context.params();
    let func = refresh(last(LOG_N - 1, false, true), slots);
    let encrypted = rig.encrypted(&func, &[&rig.bootstrapper]);
    let message = reals(slots, 25);
    let found = execute(&encrypted, vec![vec![rig.encrypt(&message, 0)]], &mut ()).unwrap();
    let noise = BootstrapNoise::new(rig.bootstrapper.bootstrap_params(), params, 0, 3).unwrap();
    let (_, variance) = noise.moments(0.0, power(&message));
    check(&rig.decrypt(&found[0][0]), |i| message[i].re, variance);

    let simulation = Simulation::new(&func, params);
    let simulate = |seed: u64| -> Vec<Complex> {
        let run = simulation.run(seed);
        let slots = message.iter().map(|z| z.re).collect();
        let input = run.encrypt(0, func.ty(func.inputs()[0]), vec![slots], EncryptionKind::SecretKey);
        let result = execute(&run, vec![input], &mut ()).unwrap().remove(0).remove(0);
        result.into_iter().map(|re| Complex::new(re, 0.0)).collect()
    };
    assert_eq!(simulate(1), simulate(1));
    assert_ne!(simulate(1), simulate(2));
    check(&simulate(3), |i| message[i].re, variance);
}

#[test]
fn what_does_not_fit_is_refused() {
    let rig = Rig::new(last(6, false, true), 10, Secret::UniformTernary);
    let a = rig.encrypt(&reals(1 << 6, 13), 0);
    let too_high = rig.bootstrap(&a, 4).unwrap_err();
    assert!(matches!(too_high, EvalError::LevelTooHigh { op: "bootstrap", top: 3, found: 4 }));
    let full = rig.encrypt(&reals(1 << (LOG_N - 1), 13), 0);
    assert!(matches!(rig.bootstrap(&full, 3), Err(EvalError::SlotCount { .. })));
    let without = rig.bootstrapper.bootstrap(&rig.evaluator(), None, &a, 3).unwrap_err();
    assert!(matches!(without, EvalError::Encapsulation { needed: true, .. }));
    // The first thing that it needs is a conjugate.
    let no_keys = EvaluationKeys::new(rig.secret.id());
    let evaluator = Evaluator::new(&rig.context, &no_keys);
    let missing = rig.bootstrapper.bootstrap(&evaluator, rig.keys.encapsulation(), &a, 3).unwrap_err();
    assert!(matches!(missing, EvalError::MissingKey { .. }), "{missing}");
    // Keys of a program are all there are, each at the highest level that it is used at.
    let func = refresh(last(6, false, true), 1 << 6);
    let prepared = rig.prepared(&func, &[&rig.bootstrapper]);
    let backend = Encrypted::new(&prepared, rig.no_evaluation_keys());
    let refused = execute(&backend, vec![vec![a]], &mut ());
    assert!(matches!(refused, Err(ExecError::MissingKeys { .. })));
}
