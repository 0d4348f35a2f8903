//! Bootstraps of a toy ring with the chain of a real one, against the message and the clear
//! reduction.

use std::f64::consts::PI;
use std::sync::Arc;

use fhec_ir::bootstrap::{BootstrapError, BootstrapParams, Order};
use fhec_ir::ckks::{CiphertextType, Ckks, Op};
use fhec_ir::func::Func;
use fhec_ir::noise::bootstrap::BootstrapNoise;
use fhec_ir::params::{Params, Secret};
use fhec_ir::prime_set::Exchange;
use fhec_ir::scale::{Level, Scale};
use fhec_ir::slot_mask::SlotMask;

use super::keys::{encapsulation_keys, key_requests};
use super::{Bootstrapper, Bootstrapping, SetupError};
use crate::circuits::dft::EncodedDft;
use crate::circuits::mod_raise::Raised;
use crate::ckks::{
    Complex, Decryptor, Encoder, Encoding, Encryptor, Evaluator, FactorEncoder, PlaintextScale,
};
use crate::error::EvalError;
use crate::exec::{Encrypted, ExecError, Prepared, ProgramKeys, execute};
use crate::ring::{Context, Seed};
use crate::rlwe::{Ciphertext, EvaluationKeys, SecretKey};
use crate::testing::bootstrap::{
    BOUND, LOG_N, bootstrap, conserving_a_level, last, packed_params, params, params_with_digits,
    raising_into_slots, with_levels,
};
use crate::testing::random_slots;

mod last;
mod noise;

use noise::excess_bits;

struct Rig {
    context: Arc<Context>,
    secret: Arc<SecretKey>,
    keys: Arc<ProgramKeys>,
    bootstrapper: Arc<Bootstrapper>,
}

impl Rig {
    fn new(bootstrap: BootstrapParams, log_ratio: u32, secret: Secret) -> Self {
        let params = params(&bootstrap, log_ratio, secret);
        Rig::with_params(bootstrap, params)
    }

    fn with_params(bootstrap: BootstrapParams, params: Params) -> Self {
        let context = Arc::new(Context::new(params).unwrap());
        let seed = Seed::from_bytes([17; 32]);
        let secret = Arc::new(SecretKey::generate(&context, &seed));
        let requests = key_requests(&context, &bootstrap);
        let keys = EvaluationKeys::generate(&context, &secret, &seed, &requests).unwrap();
        let encapsulation = encapsulation_keys(&context, &secret, &bootstrap, &seed).unwrap();
        let keys = Arc::new(ProgramKeys::new(keys, encapsulation).unwrap());
        let encoder = FactorEncoder::new(&context);
        let bootstrapper = Bootstrapper::new(bootstrap, &encoder).unwrap().with_pairs(&encoder).unwrap();
        let bootstrapper = Arc::new(bootstrapper);
        Rig { context, secret, keys, bootstrapper }
    }

    fn evaluator(&self) -> Evaluator<'_> {
        Evaluator::new(&self.context, self.keys.evaluation())
    }

    fn encrypt(&self, values: &[Complex], level: Level) -> Ciphertext {
        let plaintext = Encoder::new(&self.context).encode_complex(values, Encoding::message(level)).unwrap();
        Encryptor::with_secret_key(&self.context, &self.secret, Seed::from_bytes([19; 32]))
            .encrypt(&plaintext)
            .unwrap()
    }

    fn decrypt(&self, a: &Ciphertext) -> Vec<Complex> {
        let plaintext = Decryptor::new(&self.context, &self.secret).decrypt(a).unwrap();
        Encoder::new(&self.context).decode_complex(&plaintext).unwrap()
    }

    /// `program` with the bootstraps given, and the keys of this rig.
    fn encrypted(&self, program: &Arc<Func<Ckks>>, bootstrappers: &[&Arc<Bootstrapper>]) -> Encrypted {
        Encrypted::new(&self.prepared(program, bootstrappers), Arc::clone(&self.keys))
    }

    fn prepared(&self, program: &Arc<Func<Ckks>>, bootstrappers: &[&Arc<Bootstrapper>]) -> Arc<Prepared> {
        let bootstrapping = Bootstrapping { bootstrappers: bootstrappers.iter().copied().cloned().collect() };
        let encoder = FactorEncoder::new(&self.context);
        Arc::new(Prepared::with_bootstrapping(encoder, Arc::clone(program), bootstrapping, 0))
    }

    /// No keys but those of the encapsulation.
    fn no_evaluation_keys(&self) -> ProgramKeys {
        let encapsulation = encapsulation_keys(
            &self.context,
            &self.secret,
            self.bootstrapper.bootstrap_params(),
            &Seed::from_bytes([17; 32]),
        );
        ProgramKeys::new(EvaluationKeys::new(self.secret.id()), encapsulation.unwrap()).unwrap()
    }

    fn bootstrap(&self, a: &Ciphertext, level: Level) -> Result<Ciphertext, EvalError> {
        self.bootstrapper.bootstrap(&self.evaluator(), self.keys.encapsulation(), a, level)
    }
}

fn reals(slots: usize, label: u64) -> Vec<Complex> {
    random_slots(slots, label).iter().map(|z| Complex::new(z.re, 0.0)).collect()
}

fn worst(found: &[Complex], expected: impl Fn(usize) -> f64) -> f64 {
    found.iter().enumerate().fold(0.0, |max, (i, z)| max.max((z.re - expected(i)).abs()).max(z.im.abs()))
}

/// What the sine makes of a message: the only error that is not noise.
fn sine(m: f64, log_ratio: u32) -> f64 {
    let angle = 2.0 * PI * 0.5f64.powi(log_ratio as i32);
    (angle * m).sin() / angle
}

#[test]
fn a_message_comes_back_with_its_levels() {
    let (slots, ratio) = (1 << (LOG_N - 1), 10);
    let rig = Rig::new(bootstrap(LOG_N - 1, false, true), ratio, Secret::UniformTernary);
    // An imaginary part is dropped, not mixed in.
    let message = random_slots(slots, 3);
    let input = rig.bootstrapper.bootstrap_params().input_level();
    let result = rig.bootstrap(&rig.encrypt(&message, input), 5).unwrap();
    assert_eq!((result.level(), result.slots()), (5, slots));
    let found = rig.decrypt(&result);
    let error = worst(&found, |i| sine(message[i].re, ratio));
    assert!(error < 2f64.powi(-17), "2^{:.1}", error.log2());
}

#[test]
fn two_messages_share_the_transforms() {
    let (slots, ratio) = (1 << (LOG_N - 1), 10);
    let rig = Rig::new(bootstrap(LOG_N - 1, false, true), ratio, Secret::UniformTernary);
    let input = rig.bootstrapper.bootstrap_params().input_level();
    // Imaginary parts are dropped, not mixed in; operands may have levels left.
    let messages = [random_slots(slots, 3), random_slots(slots, 4)];
    let [a, b] = [rig.encrypt(&messages[0], input), rig.encrypt(&messages[1], input + 1)];
    let pair =
        |level| rig.bootstrapper.bootstrap_pair(&rig.evaluator(), rig.keys.encapsulation(), [&a, &b], level);
    assert!(rig.bootstrapper.takes_pairs());
    for level in [5, 3] {
        for (result, message) in pair(level).unwrap().iter().zip(&messages) {
            assert_eq!((result.level(), result.slots()), (level, slots));
            let error = worst(&rig.decrypt(result), |i| sine(message[i].re, ratio));
            assert!(error < 2f64.powi(-17), "2^{:.1}", error.log2());
        }
    }
    let few = rig.encrypt(&messages[0], input - 1);
    let refused = rig.bootstrapper.bootstrap_pair(&rig.evaluator(), rig.keys.encapsulation(), [&a, &few], 5);
    assert!(matches!(refused, Err(EvalError::LevelTooLow { .. })));
    assert!(matches!(pair(9), Err(EvalError::LevelTooHigh { .. })));
    let sparse = Rig::new(bootstrap(LOG_N - 3, false, true), ratio, Secret::UniformTernary);
    assert!(!sparse.bootstrapper.takes_pairs());
}

/// What a bootstrap is told to leave out becomes zero, before anything is made of it: whatever is
/// there, the rest is as exact as without. One by one, in pairs, and as a program runs it.
#[test]
fn masked_slots_become_zero() {
    let (slots, ratio) = (1 << (LOG_N - 1), 10);
    let rig = Rig::new(bootstrap(LOG_N - 1, false, true), ratio, Secret::UniformTernary);
    let b = rig.bootstrapper.bootstrap_params();
    let encoder = FactorEncoder::new(&rig.context);
    for mask in [
        SlotMask { area: [28, 56], plane: [32, 64] },
        SlotMask { area: [27, 64], plane: [32, 64] },
        SlotMask { area: [3, 3], plane: [4, 4] },
    ] {
        let inside = [reals(slots, 3), reals(slots, 4)];
        // A thousand times what may be refreshed, and twice what the modulus holds there.
        let beside = |slot: usize, z: Complex| match mask.keeps(slot) {
            true => z,
            false => Complex::new(2000.0 * z.re, z.im),
        };
        let messages = inside.clone().map(|slots| -> Vec<Complex> {
            slots.iter().enumerate().map(|(slot, z)| beside(slot, *z)).collect()
        });
        let expected = |index: usize, slot: usize| match mask.keeps(slot) {
            true => sine(inside[index][slot].re, ratio),
            false => 0.0,
        };
        let mut func: Func<Ckks> = Func::new("masked");
        let x = func.add_input(CiphertextType::canonical(2, slots, 3), None);
        let y = func.push(Op::Bootstrap { x, level: 4, sine: None, mask: Some(mask) }).unwrap();
        func.set_outputs(vec![y]);
        BootstrapParams::set_in_program(&mut func, &vec![b.clone()]);
        let bootstrapping = Bootstrapping::new(vec![b.clone()], &func, &encoder).unwrap();
        let [masking] = &bootstrapping.bootstrappers[..] else { panic!("one mask") };
        assert!(masking.takes_pairs());
        let inputs = [rig.encrypt(&messages[0], 3), rig.encrypt(&messages[1], 3)];
        let single = masking.bootstrap(&rig.evaluator(), rig.keys.encapsulation(), &inputs[0], 5).unwrap();
        let without = rig.bootstrap(&rig.encrypt(&inside[0], 3), 5).unwrap();
        let [masked, plain] = [
            worst(&rig.decrypt(&single), |slot| expected(0, slot)),
            worst(&rig.decrypt(&without), |slot| sine(inside[0][slot].re, ratio)),
        ];
        eprintln!("{mask:?}: 2^{:.2}, without a mask 2^{:.2}", masked.log2(), plain.log2());
        assert!(masked < 2f64.powi(-17) && masked < 2.0 * plain, "2^{:.1}", masked.log2());
        let func = Arc::new(func);
        let backend = rig.encrypted(&func, &[masking]);
        let outputs = execute(&backend, vec![inputs.to_vec()], &mut ()).unwrap();
        for (index, output) in outputs[0].iter().enumerate() {
            let error = worst(&rig.decrypt(output), |slot| expected(index, slot));
            assert!(error < 2f64.powi(-17), "pair {index}: 2^{:.1}", error.log2());
        }
        // Matrices without the mask do something else.
        let other = rig.encrypted(&func, &[&rig.bootstrapper]);
        assert!(matches!(
            execute(&other, vec![inputs.to_vec()], &mut ()),
            Err(ExecError::Params { op: 0, .. })
        ));
    }
}

/// Bootstraps with several masks share what does not depend on them.
#[test]
fn masks_have_matrices_of_their_own() {
    let rig = Rig::new(bootstrap(6, false, true), 10, Secret::UniformTernary);
    let b = rig.bootstrapper.bootstrap_params().clone();
    let encoder = FactorEncoder::new(&rig.context);
    let mask = |area| Some(SlotMask { area, plane: [8, 8] });
    let bytes = |masks: &[Option<SlotMask>]| {
        let mut func: Func<Ckks> = Func::new("masks");
        let x = func.add_input(CiphertextType::canonical(1, 1 << 6, 2), None);
        let refreshed =
            |&mask: &Option<SlotMask>| func.push(Op::Bootstrap { x, level: 4, sine: None, mask }).unwrap();
        let outputs = masks.iter().map(refreshed).collect();
        func.set_outputs(outputs);
        let made = Bootstrapping::new(vec![b.clone()], &func, &encoder).unwrap();
        (made.bootstrappers.len(), made.bytes())
    };
    let ((one, alone), (again, twice)) = (bytes(&[None]), bytes(&[None, None]));
    assert_eq!((one, again), (1, 1));
    assert_eq!((alone, twice), (rig.bootstrapper.bytes(), alone));
    let (three, more) = bytes(&[None, mask([7, 8]), mask([7, 8]), mask([6, 8])]);
    let to_coeffs: usize = rig.bootstrapper.slots_to_coeffs.iter().map(EncodedDft::bytes).sum();
    assert_eq!((three, more), (3, alone + 2 * to_coeffs));
}

#[test]
fn every_phase_holds_what_it_should() {
    let (slots, ratio) = (1 << (LOG_N - 1), 10);
    let rig = Rig::new(bootstrap(LOG_N - 1, false, true), ratio, Secret::UniformTernary);
    let (b, evaluator, params) = (&rig.bootstrapper, rig.evaluator(), rig.context.params());
    let message = reals(slots, 5);
    let coefficients = |a: &Ciphertext| -> Vec<f64> {
        let mut poly = Decryptor::new(&rig.context, &rig.secret).decrypt(a).unwrap().poly.clone();
        poly.to_coefficients(&rig.context);
        rig.context.centred_coefficients(&poly, 1)
    };
    let reversed = |i: usize| i.reverse_bits() >> (usize::BITS - slots.trailing_zeros());
    let (scale, q0) = (params.canonical_scale(0).to_f64(), params.q()[0] as f64);

    // The message is in the lower half of the coefficients, nothing in the upper one.
    let a = b.slots_to_coeffs(&evaluator, rig.encrypt(&message, 2)).unwrap();
    for (i, x) in coefficients(&a).into_iter().enumerate() {
        let expected = if i < slots { message[reversed(i)].re } else { 0.0 };
        assert!((x / scale - expected).abs() < 2f64.powi(-28), "coefficient {i}");
    }
    // Raised: the same plus multiples of q0, fewer than the bound.
    let a = b.raise_modulus(&evaluator, rig.keys.encapsulation(), &a, 5).unwrap();
    let raised = coefficients(&a.clone().switch(&rig.context, rig.keys.encapsulation()).unwrap());
    for (i, x) in raised.iter().enumerate() {
        let integer = (x / q0).round();
        let expected = if i < slots { message[reversed(i)].re } else { 0.0 };
        assert!(integer.abs() < f64::from(BOUND));
        assert!(((x - integer * q0) / scale - expected).abs() < 2f64.powi(-28));
    }
    // In the slots: arguments of the sine, real.
    let a = b.coeffs_to_slots(&evaluator, rig.keys.encapsulation(), a).unwrap();
    let a = b.argument(&evaluator, a).unwrap();
    let width = b.bootstrap_params().width();
    let arguments = rig.decrypt(&a);
    for (i, t) in arguments.iter().enumerate() {
        assert!((t.re * width + 0.25 - raised[reversed(i)] / q0).abs() < 2f64.powi(-30));
        assert!(t.im.abs() < 2f64.powi(-33));
    }
    // Reduced: what the polynomials give in the clear.
    let reduced = rig.decrypt(&b.reduce(&evaluator, &a, 5).unwrap());
    let bootstrap = b.bootstrap_params();
    let scales = bootstrap.sine_scale(params).to_f64() / params.canonical_scale(5).to_f64();
    for (z, t) in reduced.iter().zip(&arguments) {
        let expected = b.eval_mods[3].clear(bootstrap, params, t.re) * scales;
        assert!((z.re - expected).abs() < 2f64.powi(-17) && z.im.abs() < 2f64.powi(-17));
    }
}

#[test]
fn the_first_matrix_is_applied_on_the_way_back() {
    let (slots, ratio) = (1 << (LOG_N - 1), 10);
    let rig = Rig::new(raising_into_slots(), ratio, Secret::UniformTernary);
    let (b, params) = (rig.bootstrapper.bootstrap_params(), rig.context.params());
    assert!(b.raises_into_slots(params));
    // Eight keys back, on one special prime or two instead of four, and no switching keys for their
    // rotations.
    let keys = rig.keys.encapsulation().unwrap();
    assert_eq!(keys.rotations().count(), 8);
    let (matrix, _) = b.coeffs_to_slots_matrices()[0];
    let others = |rotation: &usize| *rotation != 0 && !b.rotations(params).contains_key(rotation);
    assert!(matrix.baby_rotations().iter().filter(|r| others(r)).count() >= 6);
    let message = random_slots(slots, 3);
    let result = rig.bootstrap(&rig.encrypt(&message, b.input_level()), 5).unwrap();
    assert_eq!((result.level(), result.slots()), (5, slots));
    let error = worst(&rig.decrypt(&result), |i| sine(message[i].re, ratio));
    assert!(error < 2f64.powi(-17), "2^{:.1}", error.log2());
    // Diagonals for lower operands, and keys that do not rotate, are refused.
    let a = rig.encrypt(&message, 0);
    let raise = |level, conserves_level| {
        Raised::new(&rig.context, Some(keys), &a, level, Exchange::default(), conserves_level)
    };
    let raised = raise(b.raised_level(), false).unwrap();
    assert!(matches!(raise(b.raised_level(), true), Err(EvalError::Encapsulation { .. })));
    let encoder = FactorEncoder::new(&rig.context);
    let scale = |level| PlaintextScale::Ratio { from: Scale::canonical(level), to: Scale::squared(level) };
    let level = b.raised_level();
    let high = encoder.encode(&[1.0], level, scale(level)).unwrap();
    let low = encoder.encode(&[1.0], level - 1, scale(level - 1)).unwrap();
    assert!(raised.transform(&rig.context, keys, &[(0, &high)]).is_ok());
    assert!(matches!(raised.transform(&rig.context, keys, &[(0, &low)]), Err(EvalError::LevelTooLow { .. })));
    assert!(matches!(
        raised.transform(&rig.context, keys, &[(1, &high)]),
        Err(EvalError::MissingRaisingKey { steps: 1, .. })
    ));
}

#[test]
fn the_first_matrix_keeps_its_level_by_the_scale_of_a_special_prime() {
    let ratio = 10;
    let rig = Rig::new(conserving_a_level(), ratio, Secret::UniformTernary);
    let (b, params) = (rig.bootstrapper.bootstrap_params(), rig.context.params());
    let taking = Rig::new(raising_into_slots(), ratio, Secret::UniformTernary);
    let above = taking.bootstrapper.bootstrap_params();
    assert_eq!(b.raised_level() + 1, above.raised_level());
    assert_eq!(params.q().len() + 1, taking.context.params().q().len());
    let special = |rig: &Rig| rig.keys.encapsulation().unwrap().special_primes();
    assert_eq!((special(&rig), special(&taking)), (3, 2));
    let message = random_slots(1 << (LOG_N - 1), 3);
    // To every level: primes are left out.
    for level in [5, 4, 3, 2] {
        let result = rig.bootstrap(&rig.encrypt(&message, b.input_level()), level).unwrap();
        assert_eq!(result.level(), level);
        let error = worst(&rig.decrypt(&result), |i| sine(message[i].re, ratio));
        assert!(error < 2f64.powi(-17), "to level {level}: 2^{:.1}", error.log2());
    }
    // Keys without the prime of the scale are refused, before anything is raised.
    let lower = with_levels(raising_into_slots(), 2);
    let keys = encapsulation_keys(&rig.context, &rig.secret, &lower, &Seed::from_bytes([1; 32]));
    let keys = keys.unwrap().unwrap();
    assert_eq!(keys.special_primes(), 2);
    let bootstrapping = Bootstrapping { bootstrappers: vec![rig.bootstrapper.clone()] };
    let found = bootstrapping.find(Some(&keys), (1 << (LOG_N - 1), None), 2, 5);
    assert!(found.is_err_and(|reason| reason.contains("special prime")));
}

#[test]
fn an_arcsine_takes_the_cubic_error_away() {
    let (slots, ratio) = (1 << (LOG_N - 1), 6);
    let rig = Rig::new(bootstrap(LOG_N - 1, true, true), ratio, Secret::UniformTernary);
    let message = reals(slots, 7);
    let found = rig.decrypt(&rig.bootstrap(&rig.encrypt(&message, 2), 5).unwrap());
    let error = worst(&found, |i| message[i].re);
    // The sine alone is wrong by (2 pi / 2^6)^2 / 6 = 2^-9.3; what is left of the Taylor series is
    // 2^-17.2.
    assert!(error < 2f64.powi(-16), "2^{:.1}", error.log2());
    // The error is that of the model, on the mean over the integers: their mixture has a kurtosis
    // below 20, so its deviation is known to sqrt(20 / 2048) / 2, 0.07 bits; three of those.
    let params = rig.context.params();
    let noise = BootstrapNoise::new(rig.bootstrapper.bootstrap_params(), params, 2, 5).unwrap();
    let power = message.iter().map(|z| z.re * z.re).sum::<f64>() / slots as f64;
    let distorted = |m: f64| noise.moments(m, power);
    let errors = found.iter().zip(&message).map(|(z, m)| {
        let (mean, variance) = distorted(m.re);
        (z.re - mean) / variance.sqrt()
    });
    let excess = excess_bits(errors, 1.0);
    eprintln!("arcsine: {excess:+.3} bits");
    assert!(excess.abs() < 0.25, "{excess:+.3} bits");
}

#[test]
fn a_sparse_main_secret_needs_no_encapsulation() {
    let ratio = 10;
    let secret = Secret::SparseTernary { hamming_weight: 32 };
    let rig = Rig::new(bootstrap(LOG_N - 1, false, false), ratio, secret);
    assert!(rig.keys.encapsulation().is_none());
    let message = reals(1 << (LOG_N - 1), 9);
    let found = rig.decrypt(&rig.bootstrap(&rig.encrypt(&message, 2), 5).unwrap());
    assert!(worst(&found, |i| sine(message[i].re, ratio)) < 2f64.powi(-17));
}

#[test]
fn few_slots_and_lower_levels_and_chains() {
    let (log_slots, ratio) = (6, 10);
    let rig = Rig::new(bootstrap(log_slots, false, true), ratio, Secret::UniformTernary);
    let message = reals(1 << log_slots, 11);
    let mut value = rig.encrypt(&message, 4);
    let mut expected: Vec<f64> = message.iter().map(|z| z.re).collect();
    for level in [5, 3, 2] {
        value = rig.bootstrap(&value, level).unwrap();
        assert_eq!((value.level(), value.slots()), (level, 1 << log_slots));
        expected.iter_mut().for_each(|m| *m = sine(*m, ratio));
        let error = worst(&rig.decrypt(&value), |i| expected[i]);
        assert!(error < 2f64.powi(-17), "level {level}: 2^{:.1}", error.log2());
    }
}

/// Results at lower levels are made on fewer primes, whole digits of keys and parts of them
/// missing, with the error of the model.
#[test]
fn lower_results_are_raised_to_fewer_primes() {
    let (slots, ratio) = (1 << (LOG_N - 1), 7);
    let message = reals(slots, 27);
    let power = message.iter().map(|z| z.re * z.re).sum::<f64>() / slots as f64;
    let full = LOG_N - 1;
    let circuits = [
        (raising_into_slots(), 1),
        (bootstrap(full, true, true), 2),
        (bootstrap(full, false, true), 4),
        (last(full, false, true), 1),
        (last(full, true, true), 4),
    ];
    for (circuit, digit_limbs) in circuits {
        let params = params_with_digits(&circuit, ratio, Secret::UniformTernary, digit_limbs);
        let rig = Rig::with_params(circuit, params);
        let (b, params) = (rig.bootstrapper.bootstrap_params(), rig.context.params());
        let (input, output) = (b.input_level(), b.output_level);
        let a = rig.encrypt(&message, input);
        for level in (0..=output).rev() {
            let result = rig.bootstrap(&a, level).unwrap();
            let limbs = result.polys()[0].limbs();
            assert_eq!((result.level(), limbs), (level, usize::from(level) + 1));
            assert_eq!(result.polys()[0].basis(), rig.context.basis(level));
            assert_eq!(result.scale(), Scale::canonical(level));
            let noise = BootstrapNoise::new(b, params, input, level).unwrap();
            let found = rig.decrypt(&result);
            let errors = found.iter().zip(&message).map(|(z, m)| {
                let (mean, variance) = noise.moments(m.re, power);
                (z.re - mean) / variance.sqrt()
            });
            // As in the test of the arcsine: three deviations of a deviation.
            let excess = excess_bits(errors, 1.0);
            eprintln!("{digit_limbs} primes per digit, level {level}: {excess:+.3} bits");
            assert!(excess.abs() < 0.25, "{digit_limbs} primes per digit, level {level}: {excess:+.3} bits");
        }
        // What is raised has a limb less for every prime that is left out, and so does what is made
        // of it.
        let (evaluator, keys) = (rig.evaluator(), rig.keys.encapsulation());
        let x =
            rig.bootstrapper.raise_modulus(&evaluator, keys, &rig.encrypt(&message, 0), output - 2).unwrap();
        let x = rig.bootstrapper.coeffs_to_slots(&evaluator, keys, x).unwrap();
        assert_eq!(x.polys()[0].limbs(), params.limbs(b.sine_input_level()) - 2);
    }
}

/// The same where levels share primes: a result at any level has the error of the model. Some
/// levels are reached by way of the one above, because their narrow primes are primes of the raised
/// levels, too.
#[test]
fn results_at_levels_that_share_primes() {
    let (slots, ratio) = (1 << (LOG_N - 1), 7);
    let message = reals(slots, 29);
    let power = message.iter().map(|z| z.re * z.re).sum::<f64>() / slots as f64;
    let full = LOG_N - 1;
    let circuits = [
        // Digits of one prime are left out in several runs.
        (with_levels(raising_into_slots(), 7), 1),
        (with_levels(bootstrap(full, true, true), 7), 1),
        (with_levels(bootstrap(full, true, true), 5), 2),
        (with_levels(bootstrap(full, false, true), 4), 4),
        (with_levels(last(full, false, true), 6), 2),
    ];
    for (circuit, digit_limbs) in circuits {
        let params = packed_params(&circuit, ratio, digit_limbs);
        let rig = Rig::with_params(circuit, params);
        let (b, params) = (rig.bootstrapper.bootstrap_params(), rig.context.params());
        let (input, output) = (b.input_level(), b.output_level);
        let a = rig.encrypt(&message, input);
        for level in (input..=output).rev() {
            let result = rig.bootstrap(&a, level).unwrap();
            assert_eq!((result.level(), result.scale()), (level, Scale::canonical(level)));
            assert_eq!(result.polys()[0].basis(), rig.context.basis(level));
            let noise = BootstrapNoise::new(b, params, input, level).unwrap();
            let errors = rig.decrypt(&result).into_iter().zip(&message).map(|(z, m)| {
                let (mean, variance) = noise.moments(m.re, power);
                (z.re - mean) / variance.sqrt()
            });
            let excess = excess_bits(errors, 1.0);
            assert!(excess.abs() < 0.25, "{digit_limbs} primes per digit, level {level}: {excess:+.3} bits");
        }
        let reached: Vec<Level> = (input..=output).map(|level| b.reached_level(params, level)).collect();
        assert!(reached.iter().zip(input..).all(|(&reached, level)| reached >= level));
        let levels = output - input;
        let direct = reached.iter().zip(input..).filter(|&(&reached, level)| reached == level).count();
        // All of them, or those of whole groups of three and, if the highest has one narrow prime,
        // of one more.
        assert_eq!(
            direct,
            [usize::from(levels / 3) + 1, usize::from(levels / 3) * 2 + 2, usize::from(levels) + 1]
                [usize::from(levels % 3)]
        );
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let rig = Rig::new(bootstrap(6, false, true), 10, Secret::UniformTernary);
    let message = reals(1 << 6, 13);
    let refused = |a: &Ciphertext, level| rig.bootstrap(a, level).unwrap_err();
    assert!(matches!(
        refused(&rig.encrypt(&message, 1), 5),
        EvalError::LevelTooLow { op: "bootstrap", needed: 2, found: 1 }
    ));
    let a = rig.encrypt(&message, 2);
    assert!(matches!(refused(&a, 6), EvalError::LevelTooHigh { top: 5, found: 6, .. }));
    let full = rig.encrypt(&reals(1 << (LOG_N - 1), 13), 2);
    assert!(matches!(refused(&full, 5), EvalError::SlotCount { .. }));
    let without = rig.bootstrapper.bootstrap(&rig.evaluator(), None, &a, 5).unwrap_err();
    assert!(matches!(without, EvalError::Encapsulation { needed: true, .. }));
    let no_keys = EvaluationKeys::new(rig.secret.id());
    let evaluator = Evaluator::new(&rig.context, &no_keys);
    let missing = rig.bootstrapper.bootstrap(&evaluator, rig.keys.encapsulation(), &a, 5).unwrap_err();
    assert!(matches!(missing, EvalError::MissingKey { .. }));
    // The chain of the other order has no place for its levels.
    let high = BootstrapParams { output_level: 4, ..last(6, false, true) };
    let encoder = FactorEncoder::new(&rig.context);
    assert!(matches!(
        Bootstrapper::new(high, &encoder),
        Err(SetupError::Misfit(BootstrapError::Levels { needed: 17, top: 16 }))
    ));
}

#[test]
fn programs_bootstrap() {
    let ratio = 10;
    let rig = Rig::new(bootstrap(6, false, true), ratio, Secret::UniformTernary);
    let mut func: Func<Ckks> = Func::new("refresh");
    let x = func.add_input(CiphertextType::canonical(1, 1 << 6, 2), None);
    let y = func.push(Op::Bootstrap { x, level: 4, sine: None, mask: None }).unwrap();
    let product = func.push(Op::MulScalar { x: y, factor: 0.5 }).unwrap();
    let z = func.push(Op::Rescale { x: product }).unwrap();
    func.set_outputs(vec![z]);
    let message = reals(1 << 6, 15);
    let inputs = || vec![vec![rig.encrypt(&message, 2)]];
    let func = Arc::new(func);
    let without = rig.encrypted(&func, &[]);
    assert!(matches!(
        execute(&without, inputs(), &mut ()),
        Err(ExecError::Unsupported { op: 0, mnemonic: "bootstrap", .. })
    ));
    let with = rig.encrypted(&func, &[&rig.bootstrapper]);
    let outputs = execute(&with, inputs(), &mut ()).unwrap();
    let found = rig.decrypt(&outputs[0][0]);
    assert!(worst(&found, |i| 0.5 * sine(message[i].re, ratio)) < 2f64.powi(-18));
    // Too high a level, and keys that are not there, are refused before any work.
    let mut high: Func<Ckks> = Func::new("high");
    let x = high.add_input(CiphertextType::canonical(1, 1 << 6, 2), None);
    let y = high.push(Op::Bootstrap { x, level: 6, sine: None, mask: None }).unwrap();
    high.set_outputs(vec![y]);
    let backend = rig.encrypted(&Arc::new(high), &[&rig.bootstrapper]);
    assert!(matches!(execute(&backend, inputs(), &mut ()), Err(ExecError::Params { .. })));
    let backend = Encrypted::new(with.prepared(), rig.no_evaluation_keys());
    assert!(matches!(execute(&backend, inputs(), &mut ()), Err(ExecError::MissingKeys { .. })));
}
