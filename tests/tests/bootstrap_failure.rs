//! How often the integers that raising the modulus leaves are large, against what the failure
//! probability is computed from.

use std::sync::Arc;

use fhec_ir::params::{Params, ParamsLiteral, Secret};
use fhec_ir::prime::ntt_primes_near;
use fhec_ir::prime_set::{Exchange, PrimeSet};
use fhec_passes::bootstrap::failure::{log2_coefficient_failure, log2_tail};
use fhec_runtime::circuits::mod_raise::Raised;
use fhec_runtime::ckks::{Decryptor, Encoder, Encoding, Encryptor};
use fhec_runtime::ring::{Context, Seed};
use fhec_runtime::rlwe::SecretKey;

const LOG_N: u32 = 15;

fn params(hamming_weight: u32) -> Params {
    let q: Vec<u64> = ntt_primes_near(1 << 45, LOG_N).take(2).collect();
    let literal = ParamsLiteral {
        name: format!("raise-h{hamming_weight}"),
        log_n: LOG_N,
        levels: PrimeSet::prefixes([1, 2]),
        q,
        p: ntt_primes_near(1 << 48, LOG_N).take(1).collect(),
        digit_limbs: 1,
        log_scale: 35,
        secret: Secret::SparseTernary { hamming_weight },
    };
    Params::new(literal).unwrap()
}

/// The integers of `rounds` raised encryptions, each under a secret of its own, by size.
fn integers(hamming_weight: u32, rounds: u8) -> Vec<u64> {
    let context = Arc::new(Context::new(params(hamming_weight)).unwrap());
    let (q0, degree) = (context.params().q()[0], context.ring_degree());
    let encoder = Encoder::new(&context);
    let mut counts = vec![0; hamming_weight as usize];
    for round in 0..rounds {
        let seed = Seed::from_bytes([round + 1; 32]);
        let secret = Arc::new(SecretKey::generate(&context, &seed));
        let message: Vec<f64> =
            (0..degree / 2).map(|i| ((i * 31 + 7 * usize::from(round)) % 97) as f64 / 97.0 - 0.5).collect();
        let plaintext = encoder.encode(&message, Encoding::message(0)).unwrap();
        let mut encryptor = Encryptor::with_secret_key(&context, &secret, seed);
        let raised = Raised::new(
            &context,
            None,
            &encryptor.encrypt(&plaintext).unwrap(),
            1,
            Exchange::default(),
            false,
        )
        .unwrap();
        let raised = raised.switch(&context, None).unwrap();
        // m + q0 I modulo q0 q1: its residue modulo q1 and that of m, small and known modulo q0,
        // give I modulo q1.
        let mut poly = Decryptor::new(&context, &secret).decrypt(&raised).unwrap().poly().clone();
        poly.to_coefficients(&context);
        let modulus = context.modulus(1);
        let inverse = modulus.inv(modulus.reduce(q0));
        for (&low, &high) in poly.limb(0).iter().zip(poly.limb(1)) {
            let message =
                if low > q0 / 2 { modulus.neg(modulus.reduce(q0 - low)) } else { modulus.reduce(low) };
            let integer = modulus.mul(modulus.sub(high, message), inverse);
            counts[integer.min(modulus.value() - integer) as usize] += 1;
        }
    }
    counts
}

/// Real encryptions at N = 2^15, raised by the runtime. The coefficients of one ring product are
/// identically distributed and each pair of them shares uniform variables, but with signs and
/// positions that make them uncorrelated, so that the count of coefficients beyond a bound varies
/// like a sum of nearly independent ones; the bound is six deviations of those.
#[test]
fn integers_of_raised_ciphertexts_have_the_tail_that_is_computed() {
    for (weight, bounds) in [(32, 2..=7u32), (64, 3..=9)] {
        let rounds = 12;
        let counts = integers(weight, rounds);
        let trials = f64::from(rounds) * f64::from(1 << LOG_N);
        let mut rejected = 0;
        for bound in bounds {
            let found = counts[bound as usize..].iter().sum::<u64>() as f64;
            let deviations = |log2: f64| {
                let expected = trials * log2.exp2();
                (found - expected) / (expected * (1.0 - log2.exp2())).sqrt()
            };
            let exact = deviations(log2_coefficient_failure(weight, bound));
            eprintln!("h = {weight}, |I| >= {bound}: {found} of {trials}, {exact:+.2} deviations");
            assert!(
                exact.abs() < 6.0,
                "h = {weight}, K = {bound}: {found} of {trials}, {exact:+.2} deviations"
            );
            // The other two conventions, h + 1 variables without and with rounding, are told apart
            // by this test.
            let others = [log2_tail(weight + 1, 2 * bound), log2_tail(weight + 1, 2 * bound - 1)];
            rejected += others.into_iter().filter(|&log2| deviations(log2).abs() > 6.0).count();
        }
        assert!(rejected >= 6, "h = {weight}: the sample is too small to tell conventions apart");
    }
}
