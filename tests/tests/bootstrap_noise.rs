//! A bootstrap of a real parameter set: encrypted, simulated, predicted.

use std::sync::Arc;

use fhec_ir::bootstrap::{BootstrapParams, Order, SineCurve};
use fhec_ir::ckks::{CiphertextType, Ckks, Op};
use fhec_ir::func::Func;
use fhec_ir::noise::bootstrap::BootstrapNoise;
use fhec_ir::params::Params;
use fhec_ir::slot_mask::SlotMask;
use fhec_passes::analysis::circuit_shapes::CircuitShapes;
use fhec_passes::analysis::noise::noise;
use fhec_passes::bootstrap::sets;
use fhec_runtime::circuits::bootstrap::Bootstrapper;
use fhec_runtime::circuits::bootstrap::keys::{encapsulation_keys, key_requests};
use fhec_runtime::ckks::{Decryptor, Encoder, Encoding, Encryptor};
use fhec_runtime::exec::{Encrypted, EncryptionKind, Prepared, ProgramKeys, Simulation, execute};
use fhec_runtime::ring::{Context, Seed};
use fhec_runtime::rlwe::{EvaluationKeys, SecretKey};

/// Messages spread evenly over `[-size, size]` in an order without structure.
fn spread(slots: usize, size: f64) -> Vec<f64> {
    (0..slots).map(|i| size * ((i * 40_503 % slots * 2 + 1) as f64 / slots as f64 - 1.0)).collect()
}

/// Bits of the mean and of the largest of `errors`.
fn bits(errors: impl Iterator<Item = f64>) -> [f64; 2] {
    let errors: Vec<f64> = errors.map(f64::abs).collect();
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    [-mean.log2(), -errors.iter().copied().fold(0.0, f64::max).log2()]
}

/// n15-128, all slots, from one level above the bootstrap's operand to one below its result. For
/// messages of full size the cubic error of the sine counts, for tiny ones nothing but noise.
///
/// Half a bit of tolerance for means. What the model leaves out: a slot of the secret is the same
/// in every rounding, and its square is distributed exponentially over the slots, so that errors
/// are more like Laplace's distribution than like the normal one. For one deviation its mean is
/// smaller by `log2(2 / sqrt pi)` = 0.17 bits, and the largest of 16384 is about `ln 16384 / sqrt
/// 2` = 6.9 deviations instead of 4.0, 0.8 bits; the largest varies by a third of a bit from one
/// sample to the next.
#[test]
fn encrypted_simulated_and_predicted_errors_agree() {
    errors_agree(Order::SlotsToCoeffsFirst, 0.8, 1, None);
}

/// Two ciphertexts refreshed together, as real and imaginary part of one, have the errors that each
/// has alone.
#[test]
fn errors_of_pairs_are_those_of_single_ciphertexts() {
    errors_agree(Order::SlotsToCoeffsFirst, 0.8, 2, None);
}

/// Two ciphertexts of pictures on planes with borders: what is beside them becomes zero, and errors
/// are those without a mask, there as well.
#[test]
fn errors_of_masked_messages_agree() {
    let mask = SlotMask { area: [112, 112], plane: [128, 128] };
    errors_agree(Order::SlotsToCoeffsFirst, 0.8, 2, Some(mask));
}

/// The same with slots to coefficients last. Every slot is a sum over all coefficients there, so
/// errors are normal ones everywhere, and the largest are alike.
#[test]
fn errors_agree_with_slots_to_coefficients_last() {
    errors_agree(Order::SlotsToCoeffsLast, 0.0, 1, None);
}

/// `tails`: by how many bits the largest encrypted error is expected to be above the largest
/// simulated one; `vectors`: how many ciphertexts are refreshed; `mask`: what is kept of them.
fn errors_agree(order: Order, tails: f64, vectors: usize, mask: Option<SlotMask>) {
    let set = sets::recipe("n15-128").unwrap().with_order(order).build().unwrap();
    let bootstrap = set.bootstrap.clone();
    let (slots, from, to) = (bootstrap.slots(), bootstrap.input_level() + 1, bootstrap.output_level - 1);
    let mut func: Func<Ckks> = Func::new("refresh");
    let x = func.add_input(CiphertextType::canonical(vectors, slots, from), None);
    let y = func.push(Op::Bootstrap { x, level: to, sine: None, mask }).unwrap();
    func.set_outputs(vec![y]);
    BootstrapParams::set_in_program(&mut func, &vec![bootstrap.clone()]);

    let context = Arc::new(Context::new(set.params.clone()).unwrap());
    let seed = Seed::from_bytes([29; 32]);
    let secret = Arc::new(SecretKey::generate(&context, &seed));
    let requests = key_requests(&context, &bootstrap);
    let keys = EvaluationKeys::generate(&context, &secret, &seed, &requests).unwrap();
    let encapsulation = encapsulation_keys(&context, &secret, &bootstrap, &seed).unwrap();
    let func = Arc::new(func);
    let prepared = Arc::new(Prepared::new(&context, Arc::clone(&func), 0).unwrap());
    let takes_pairs = |bootstrapper: &Arc<Bootstrapper>| bootstrapper.takes_pairs() == (vectors > 1);
    assert!(prepared.bootstrapping().bootstrappers.iter().all(takes_pairs));
    let encrypted = Encrypted::new(&prepared, ProgramKeys::new(keys, encapsulation).unwrap());
    let (encoder, decryptor) = (Encoder::new(&context), Decryptor::new(&context, &secret));
    let mut encryptor = Encryptor::with_secret_key(&context, &secret, seed);
    let simulation = Simulation::new(&func, &set.params);
    let model = BootstrapNoise::masking(&bootstrap, mask, &set.params, from, to).unwrap();

    for size in [1.0, 0.001] {
        // The second one is another message: what leaks from one to the other shows.
        let mut messages = vec![spread(slots, size); vectors];
        messages.iter_mut().skip(1).for_each(|message| message.reverse());
        let mut encrypt = |message: &Vec<f64>| {
            encryptor.encrypt(&encoder.encode(message, Encoding::message(from)).unwrap()).unwrap()
        };
        let input = messages.iter().map(&mut encrypt).collect();
        let result = execute(&encrypted, vec![input], &mut ()).unwrap();
        let decrypt = |c| encoder.decode(&decryptor.decrypt(c).unwrap()).unwrap();
        let found: Vec<f64> = result[0].iter().flat_map(decrypt).collect();
        let run = simulation.run(31);
        let ty = func.ty(func.inputs()[0]);
        let input = run.encrypt(0, ty, messages.clone(), EncryptionKind::SecretKey);
        let simulated = execute(&run, vec![input], &mut ()).unwrap().remove(0).concat();
        let mut message = messages.concat();
        if let Some(mask) = mask {
            mask.apply(&mut message);
        }

        let against = |slots: &[f64]| bits(slots.iter().zip(&message).map(|(y, m)| y - m));
        let ([measured, worst], [simulated, simulated_worst]) = (against(&found), against(&simulated));
        let power = message.iter().map(|m| m * m).sum::<f64>() / message.len() as f64;
        let [predicted, _] = bits(message.iter().map(|&m| model.mean_absolute_error(m, power)));
        let report = format!(
            "messages up to {size}: encrypted {measured:.2} / {worst:.2} bits, simulated {simulated:.2} / {simulated_worst:.2}, predicted {predicted:.2}"
        );
        eprintln!("{report}");
        assert!((measured - simulated).abs() < 0.5 && (measured - predicted).abs() < 0.5, "{report}");
        assert!((simulated_worst - worst - tails).abs() < 0.8, "{report}");

        // What `estimate` adds to the error of the operand, for messages without distortion. It
        // spreads messages over [-1, 1], whose size hardly matters to the error where their
        // distortion is none.
        if size < 1.0 {
            let undone = undone_by_readers(&func, &bootstrap, &set.params);
            let kind = EncryptionKind::SecretKey;
            let values = noise(&undone, &set.params, kind, &mut CircuitShapes::default());
            let [operand, result] =
                [undone.inputs()[0], undone.outputs()[0]].map(|v| values[v.index()].stddev);
            let estimated = (result * result - operand * operand).sqrt();
            let squares = found.iter().zip(&message).map(|(y, m)| (y - m).powi(2)).sum::<f64>();
            let deviation = (squares / message.len() as f64).sqrt();
            eprintln!("deviation 2^{:.2}, estimated 2^{:.2}", deviation.log2(), estimated.log2());
            assert!((deviation / estimated).log2().abs() < 0.5, "{deviation:.2e}, estimated {estimated:.2e}");
        }
    }
}

/// `func`, one bootstrap, said to be read by whom the sine is no error for.
fn undone_by_readers(func: &Func<Ckks>, bootstrap: &BootstrapParams, params: &Params) -> Func<Ckks> {
    let mut undone: Func<Ckks> = Func::new("refresh");
    let (ty, level) = (func.ty(func.inputs()[0]), func.ty(func.outputs()[0]).level);
    let x = undone.add_input(*ty, None);
    let sine = bootstrap.sine_curve(params).map(SineCurve::ratio);
    let Op::Bootstrap { mask, .. } = func.ops()[0].op else { panic!("it refreshes") };
    let y = undone.push(Op::Bootstrap { x, level, sine, mask }).unwrap();
    undone.set_outputs(vec![y]);
    BootstrapParams::set_in_program(&mut undone, &vec![bootstrap.clone()]);
    undone
}
