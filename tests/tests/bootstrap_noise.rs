//! A bootstrap of a real parameter set: encrypted, simulated, predicted.

use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::ckks::{CiphertextType, Ckks, Op};
use fhec_ir::func::Func;
use fhec_ir::noise::bootstrap::BootstrapNoise;
use fhec_passes::analysis::circuit_shapes::CircuitShapes;
use fhec_passes::analysis::noise::noise;
use fhec_passes::bootstrap::sets;
use fhec_runtime::circuits::bootstrap::keys::{encapsulation_keys, key_requests};
use fhec_runtime::circuits::bootstrap::{Bootstrapper, Bootstrapping};
use fhec_runtime::ckks::{Decryptor, Encoder, Encoding, Encryptor, FactorEncoder};
use fhec_runtime::exec::{Encrypted, EncryptionKind, Simulation, execute};
use fhec_runtime::ring::{Context, Seed};
use fhec_runtime::rlwe::{EvaluationKeys, SecretKey};

/// Messages spread evenly over `[-size, size]` in an order without structure.
fn spread(slots: usize, size: f64) -> Vec<f64> {
    (0..slots).map(|i| size * ((i * 40_503 % slots * 2 + 1) as f64 / slots as f64 - 1.0)).collect()
}

/// Bits of the mean of `errors`.
fn bits(errors: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = errors.fold((0.0, 0), |(sum, count), e| (sum + e.abs(), count + 1));
    -(sum / f64::from(count)).log2()
}

/// n15-128, all slots, from one level above the bootstrap's operand to one below its result. For messages of full size the cubic
/// error of the sine counts, for tiny ones nothing but noise.
///
/// Half a bit of tolerance: a mean over 16384 heavy-tailed errors is known to 0.02 bits; what the model leaves out is where the
/// transforms' errors gather, which moves a mean against a deviation by a few tenths.
#[test]
fn encrypted_simulated_and_predicted_errors_agree() {
    let set = sets::named("n15-128").unwrap();
    let bootstrap = set.bootstrap.clone();
    let (slots, from, to) = (bootstrap.slots(), bootstrap.input_level() + 1, bootstrap.output_level - 1);
    let mut func: Func<Ckks> = Func::new("refresh");
    let x = func.add_input(CiphertextType::canonical(1, slots, from), None);
    let y = func.push(Op::Bootstrap { x, level: to }).unwrap();
    func.set_outputs(vec![y]);
    BootstrapParams::set_in_program(&mut func, &vec![bootstrap.clone()]);

    let context = Context::new(set.params.clone()).unwrap();
    let seed = Seed::from_bytes([29; 32]);
    let secret = SecretKey::generate(&context, &seed);
    let requests = key_requests(&context, &bootstrap);
    let keys = EvaluationKeys::generate(&context, &secret, &seed, &requests).unwrap();
    let encapsulation = encapsulation_keys(&context, &secret, &bootstrap, &seed).unwrap();
    let bootstrapper = Bootstrapper::new(bootstrap.clone(), &FactorEncoder::new(&context)).unwrap();
    let bootstrapping = Bootstrapping {
        bootstrappers: std::slice::from_ref(&bootstrapper),
        encapsulation: encapsulation.as_ref(),
    };
    let encrypted = Encrypted::new(&context, &keys, &func, 0).with_bootstrapping(bootstrapping);
    let (encoder, decryptor) = (Encoder::new(&context), Decryptor::new(&context, &secret));
    let mut encryptor = Encryptor::with_secret_key(&context, &secret, seed);
    let simulation = Simulation::new(&func, &set.params);
    let model = BootstrapNoise::new(&bootstrap, &set.params, from, to).unwrap();

    for size in [1.0, 0.001] {
        let message = spread(slots, size);
        let plaintext = encoder.encode(&message, Encoding::message(from)).unwrap();
        let input = vec![encryptor.encrypt(&plaintext).unwrap()];
        let result = execute(&func, &encrypted, vec![input], &mut ()).unwrap();
        let found = encoder.decode(&decryptor.decrypt(&result[0][0]).unwrap()).unwrap();
        let run = simulation.run(31);
        let ty = func.ty(func.inputs()[0]);
        let input = run.encrypt(0, ty, vec![message.clone()], EncryptionKind::SecretKey);
        let simulated = execute(&func, &run, vec![input], &mut ()).unwrap().remove(0).remove(0);

        let against = |slots: &[f64]| bits(slots.iter().zip(&message).map(|(y, m)| y - m));
        let (measured, simulated) = (against(&found), against(&simulated));
        let power = size * size / 3.0;
        let predicted = bits(message.iter().map(|&m| model.mean_absolute_error(m, power)));
        let report = format!(
            "messages up to {size}: encrypted {measured:.2} bits, simulated {simulated:.2}, predicted {predicted:.2}"
        );
        eprintln!("{report}");
        assert!((measured - simulated).abs() < 0.5 && (measured - predicted).abs() < 0.5, "{report}");

        // What `estimate` says is the deviation of the noise, for an input of root mean square 1.
        if size < 1.0 {
            let values = noise(&func, &set.params, &mut CircuitShapes::default());
            let estimated = values[func.outputs()[0].index()].stddev;
            let squares = found.iter().zip(&message).map(|(y, m)| (y - m).powi(2)).sum::<f64>();
            let deviation = (squares / slots as f64).sqrt();
            let excess = (deviation / estimated).log2();
            eprintln!("deviation 2^{:.2}, estimated 2^{:.2}", deviation.log2(), estimated.log2());
            assert!(excess.abs() < 0.5, "{excess:+.2} bits");
        }
    }
}
