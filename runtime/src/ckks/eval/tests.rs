//! Every operation against the clear result, its error against the derived one; levels, scales and
//! refusals exactly.

use std::sync::Arc;

use fhec_ir::params::{FixedScale, Params, ParamsLiteral, Secret};
use fhec_ir::scale::Scale;

use super::*;
use crate::ckks::eval::combine::Combination;
use crate::ckks::{Complex, Encoder, Encoding, Encryptor, FactorEncoder, Plaintext};
use crate::ring::Seed;
use crate::rlwe::{KeyRequest, PublicKey, SwitchingKeyKind};
use crate::testing::noise::{self, assert_errors, assert_errors_below};
use crate::testing::{Fixture, literal, mixed_literal, packed_literal, random_slots};

mod reference;

/// `E|z|^2` of the messages used.
const POWER: f64 = 2.0 / 3.0;

fn multiply(a: Complex, b: Complex) -> Complex {
    Complex::new(a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re)
}

fn zip(a: &[Complex], b: &[Complex], f: impl Fn(Complex, Complex) -> Complex) -> Vec<Complex> {
    a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect()
}

fn rotated(a: &[Complex], steps: i64) -> Vec<Complex> {
    let n = a.len() as i64;
    (0..n).map(|i| a[(i + steps).rem_euclid(n) as usize]).collect()
}

/// Error of a fresh encryption by [`Fixture::encrypt`].
fn fresh(context: &Context, scale: Scale) -> f64 {
    noise::encoding(context, scale) + noise::secret_key_encryption(context, scale)
}

/// Chains of every kind: digits of one prime, of some, of all; sparse secret; mixed primes with
/// levels of two.
fn chains() -> Vec<ParamsLiteral> {
    let single = literal(13, 5, 1, 45);
    let two_digits = literal(14, 6, 3, 45);
    let one_digit = literal(13, 4, 4, 45);
    let mut sparse = literal(13, 5, 2, 40);
    sparse.secret = Secret::SparseTernary { hamming_weight: 192 };
    sparse.name += "-sparse";
    let packed = packed_literal(13);
    vec![single, two_digits, one_digit, sparse, mixed_literal(12), packed, literal(16, 5, 2, 45)]
}

#[test]
fn fresh_encryptions_under_both_keys() {
    for literal in chains() {
        let f = Fixture::new(literal, &[]);
        let context = &f.context;
        let encoder = Encoder::new(context);
        let public = Arc::new(PublicKey::generate(context, &f.secret, &Seed::from_bytes([2; 32])));
        for level in [context.params().top_level(), 1] {
            let z = random_slots(context.params().slots(), 1);
            let scale = Scale::canonical(level);
            let plaintext = encoder.encode_complex(&z, Encoding::message(level)).unwrap();
            let mut encryptor = Encryptor::new(context, &public, Seed::from_bytes([3; 32]));
            let (a, b) = (encryptor.encrypt(&plaintext).unwrap(), encryptor.encrypt(&plaintext).unwrap());
            assert_ne!(a, b, "two encryptions of one message are different");
            let variance = noise::encoding(context, scale) + noise::public_key_encryption(context, scale);
            assert_errors("public key", &f.decrypt(&a), &z, variance);
            assert_errors("secret key", &f.decrypt(&f.encrypt(&z, level)), &z, fresh(context, scale));
            let mut encryptor = Encryptor::with_secret_key(context, &f.secret, Seed::from_bytes([4; 32]));
            let seeded = encryptor.encrypt_seeded(&plaintext).unwrap().expand(context);
            assert_errors("seeded", &f.decrypt(&seeded), &z, fresh(context, scale));
        }
    }
}

#[test]
fn sums_differences_and_constants() {
    for literal in chains() {
        let f = Fixture::new(literal, &[]);
        let (context, eval) = (&f.context, f.evaluator());
        let level = context.params().top_level();
        let scale = Scale::canonical(level);
        let (x, y) = (random_slots(context.params().slots(), 1), random_slots(context.params().slots(), 2));
        let (a, b) = (f.encrypt(&x, level), f.encrypt(&y, level));
        let variance = fresh(context, scale);
        let sum = zip(&x, &y, |x, y| Complex::new(x.re + y.re, x.im + y.im));
        let difference = zip(&x, &y, |x, y| Complex::new(x.re - y.re, x.im - y.im));
        assert_errors("add", &f.decrypt(&eval.add(&a, &b).unwrap()), &sum, 2.0 * variance);
        assert_errors("sub", &f.decrypt(&eval.sub(&a, &b).unwrap()), &difference, 2.0 * variance);
        let mut both = eval.neg(&a);
        eval.add_assign(&mut both, &b).unwrap();
        eval.neg_assign(&mut both);
        assert_errors("neg, add_assign", &f.decrypt(&both), &difference, 2.0 * variance);
        let plaintext = Encoder::new(context).encode_complex(&y, Encoding::message(level)).unwrap();
        let with_plain = variance + noise::encoding(context, scale);
        assert_errors("add_plain", &f.decrypt(&eval.add_plain(&a, &plaintext).unwrap()), &sum, with_plain);
        let mut c = a.clone();
        eval.add_scalar_assign(&mut c, -0.375).unwrap();
        let moved: Vec<Complex> = x.iter().map(|x| Complex::new(x.re - 0.375, x.im)).collect();
        assert_errors("add_scalar", &f.decrypt(&c), &moved, variance);
        eval.mul_imaginary_unit_assign(&mut c);
        let turned: Vec<Complex> = moved.iter().map(|x| Complex::new(-x.im, x.re)).collect();
        assert_errors("mul_imaginary_unit", &f.decrypt(&c), &turned, variance);
    }
}

#[test]
fn products_relinearised_and_rescaled() {
    for literal in chains() {
        let f = Fixture::new(literal, &[]);
        let (context, eval) = (&f.context, f.evaluator());
        for level in [context.params().top_level(), 2] {
            let scale = Scale::canonical(level);
            let (x, y) =
                (random_slots(context.params().slots(), 1), random_slots(context.params().slots(), 2));
            let (a, b) = (f.encrypt(&x, level), f.encrypt(&y, level));
            let product = zip(&x, &y, multiply);
            // x e_y + y e_x.
            let variance = 2.0 * POWER * fresh(context, scale);
            let c = eval.mul(&a, &b).unwrap();
            assert_eq!((c.size(), c.scale(), c.level()), (3, Scale::squared(level), level));
            assert_errors("mul", &f.decrypt(&c), &product, variance);
            let switched = variance + noise::key_switch(context, level, Scale::squared(level));
            let r = eval.relinearize(&c).unwrap();
            assert_eq!((r.size(), r.scale()), (2, Scale::squared(level)));
            assert_errors("relinearize", &f.decrypt(&r), &product, switched);
            let s = eval.rescale(&r).unwrap();
            let below = Scale::canonical(level - 1);
            assert_eq!((s.size(), s.scale(), s.level()), (2, below, level - 1));
            assert_errors("rescale", &f.decrypt(&s), &product, switched + noise::division(context, below));
            let m = eval.relinearize_rescale(&c).unwrap();
            let merged = variance
                + noise::key_switch_product(context, level, Scale::squared(level))
                + noise::division(context, below);
            assert_eq!((m.size(), m.scale(), m.level()), (2, below, level - 1));
            assert_errors("relinearize_rescale", &f.decrypt(&m), &product, merged);
            // The square: twice the same error, and E|z|^4 does not enter.
            let q = eval.square(&a).unwrap();
            assert_eq!(q, eval.mul(&a, &a).unwrap());
            assert_errors(
                "square",
                &f.decrypt(&q),
                &zip(&x, &x, multiply),
                4.0 * POWER * fresh(context, scale),
            );
            // Size 3 can be rescaled too. Tail of the largest rounding, r_2 s^2: below 2^-57 at 100
            // deviations.
            let three = eval.rescale(&c).unwrap();
            assert_eq!((three.size(), three.scale()), (3, below));
            let variance = variance + noise::division_of_three(context, below);
            assert_errors_below("size 3 rescale", &f.decrypt(&three), &product, variance, 100.0);
        }
    }
}

#[test]
fn plaintext_products_and_constants() {
    for literal in chains() {
        let f = Fixture::new(literal, &[]);
        let (context, eval) = (&f.context, f.evaluator());
        let encoder = Encoder::new(context);
        let top = context.params().top_level();
        let scale = Scale::canonical(top);
        let (x, y) = (random_slots(context.params().slots(), 1), random_slots(context.params().slots(), 2));
        let a = f.encrypt(&x, top);
        let product = zip(&x, &y, multiply);
        let rounding = noise::division(context, Scale::canonical(top - 1));
        let variance = POWER * fresh(context, scale) + POWER * noise::encoding(context, scale);
        let factor = encoder.encode_complex(&y, Encoding::factor(top)).unwrap();
        let c = eval.mul_plain(&a, &factor).unwrap();
        assert_eq!(c.scale(), Scale::squared(top));
        assert_errors("mul_plain", &f.decrypt(&c), &product, variance);
        assert_errors(
            "mul_plain, rescale",
            &f.decrypt(&eval.rescale(&c).unwrap()),
            &product,
            variance + rounding,
        );
        let plain = encoder.encode_complex(&y, Encoding::message(top)).unwrap();
        assert_eq!(eval.mul_plain(&a, &plain).unwrap(), c, "both forms are the same product");
        // A factor that carries the top scale, forgotten down to level 1, to the square of D_1.
        let low = eval.mod_drop(&a, 1).unwrap();
        assert_eq!((low.level(), low.scale()), (1, scale));
        let carry = Encoding::factor_between(1, scale, Scale::squared(1));
        let c = eval.mul_plain(&low, &encoder.encode_complex(&y, carry).unwrap()).unwrap();
        assert_eq!(c.scale(), Scale::squared(1));
        let ratio = carry.scale.exact(context.params()).to_f64();
        let carried = context.ring_degree() as f64 / 12.0 / (ratio * ratio);
        let variance = POWER * fresh(context, scale) + POWER * carried;
        assert_errors("mul_plain between scales", &f.decrypt(&c), &product, variance);
        let c = eval.rescale(&eval.mul_scalar(&a, -0.7).unwrap()).unwrap();
        let scaled: Vec<Complex> = x.iter().map(|x| Complex::new(-0.7 * x.re, -0.7 * x.im)).collect();
        assert_errors("mul_scalar", &f.decrypt(&c), &scaled, 0.49 * fresh(context, scale) + rounding);
    }
}

#[test]
fn level_drop_reaches_every_canonical_scale() {
    for literal in [literal(13, 6, 2, 45), mixed_literal(12), packed_literal(12)] {
        let f = Fixture::new(literal, &[]);
        let (context, eval) = (&f.context, f.evaluator());
        let top = context.params().top_level();
        let z = random_slots(context.params().slots(), 1);
        let a = f.encrypt(&z, top);
        for level in 0..=top {
            let c = eval.level_drop(&a, level).unwrap();
            assert_eq!((c.level(), c.scale()), (level, Scale::canonical(level)));
            let rounding = if level < top { noise::division(context, Scale::canonical(level)) } else { 0.0 };
            assert_errors("level_drop", &f.decrypt(&c), &z, fresh(context, Scale::canonical(top)) + rounding);
        }
    }
}

/// From every level to every other one: the same message at the same scale, with an error where
/// primes are exchanged.
#[test]
fn mod_drop_keeps_message_and_scale() {
    let f = Fixture::new(packed_literal(12), &[]);
    let (context, eval) = (&f.context, f.evaluator());
    let z = random_slots(context.params().slots(), 1);
    let mut exchanged = 0;
    for from in 0..=context.params().top_level() {
        let (a, scale) = (f.encrypt(&z, from), Scale::canonical(from));
        for to in 0..=from {
            let c = eval.mod_drop(&a, to).unwrap();
            assert_eq!((c.level(), c.scale()), (to, scale));
            assert_eq!(c.polys()[0].basis(), context.basis(to));
            let nests = context.params().nests(from, to);
            exchanged += usize::from(!nests);
            let rounding = if nests { 0.0 } else { noise::division(context, scale) };
            assert_errors("mod_drop", &f.decrypt(&c), &z, fresh(context, scale) + rounding);
        }
    }
    assert_eq!(exchanged, 9);
}

#[test]
fn rotations_are_to_the_left_and_conjugation_conjugates() {
    for literal in chains() {
        let steps = [1, 5, -3];
        let f = Fixture::new(literal, &steps);
        let (context, eval) = (&f.context, f.evaluator());
        for level in [context.params().top_level(), 1] {
            let scale = Scale::canonical(level);
            let z = random_slots(context.params().slots(), 1);
            let a = f.encrypt(&z, level);
            let variance = fresh(context, scale) + noise::key_switch(context, level, scale);
            for k in steps {
                assert_errors("rotate", &f.decrypt(&eval.rotate(&a, k).unwrap()), &rotated(&z, k), variance);
            }
            assert_eq!(eval.rotate(&a, 0).unwrap(), a);
            assert_eq!(eval.rotate(&a, z.len() as i64).unwrap(), a);
            let conjugate: Vec<Complex> = z.iter().map(|z| Complex::new(z.re, -z.im)).collect();
            assert_errors("conjugate", &f.decrypt(&eval.conjugate(&a).unwrap()), &conjugate, variance);
            // Hoisting changes nothing, not even the noise, and postponing the division the
            // rounding only: P c_0 is a multiple of P.
            let (hoisted, steps) = (eval.hoist(&a).unwrap(), [5, 0, 1, -3]);
            for (c, k) in eval.rotate_hoisted_lazy(&hoisted, &steps).unwrap().iter().zip(steps) {
                assert_eq!(c.mod_down(context), eval.rotate(&a, k).unwrap(), "lazy rotation by {k}");
            }
        }
    }
}

#[test]
fn rotations_of_few_slots_are_cyclic_among_them() {
    let f = Fixture::new(literal(13, 4, 2, 45), &[1, 3]);
    let (context, eval) = (&f.context, f.evaluator());
    let z = random_slots(16, 1);
    let a = f.encrypt(&z, 3);
    assert_eq!(a.slots(), 16);
    // Decoding takes 32 of the 2^13 coefficients: the noise of the others is not in the slots.
    let share = 32.0 / context.ring_degree() as f64;
    let scale = Scale::canonical(3);
    let variance = share * (fresh(context, scale) + noise::key_switch(context, 3, scale));
    // Few slots, few samples: bound the worst slot only.
    for (steps, k) in [(1, 1), (3, 3), (17, 1), (-13, 3)] {
        let found = f.decrypt(&eval.rotate(&a, steps).unwrap());
        for (x, y) in found.iter().zip(&rotated(&z, k)) {
            assert!((x.re - y.re).hypot(x.im - y.im) < 21.0 * variance.sqrt());
        }
    }
}

#[test]
fn double_hoisting_is_a_matrix_product() {
    for literal in [literal(13, 5, 2, 45), mixed_literal(12), literal(13, 4, 1, 45)] {
        let f = Fixture::new(literal, &[1, 2, 4, 8]);
        let (context, eval) = (&f.context, f.evaluator());
        let encoder = Encoder::new(context);
        let level = context.params().top_level();
        let scale = Scale::canonical(level);
        let slots = context.params().slots();
        let z = random_slots(slots, 1);
        let a = f.encrypt(&z, level);
        let babies = [0, 1, 2];
        let giants = [0i64, 4, 8];
        let diagonals: Vec<Vec<Complex>> = (0..9).map(|d| random_slots(slots, 10 + d)).collect();
        let mut expected = vec![Complex::default(); slots];
        for (g, &giant) in giants.iter().enumerate() {
            for (b, &baby) in babies.iter().enumerate() {
                // Giant rotations act on the products: the sum is rot_g(d rot_b(z)).
                let term = rotated(&zip(&diagonals[3 * g + b], &rotated(&z, baby), multiply), giant);
                expected = zip(&expected, &term, |x, y| Complex::new(x.re + y.re, x.im + y.im));
            }
        }
        let encoding = Encoding::factor(level).extended();
        let encoded: Vec<Plaintext> =
            diagonals.iter().map(|d| encoder.encode_complex(d, encoding).unwrap()).collect();
        let terms: Vec<Vec<(usize, &Plaintext)>> =
            (0..3).map(|g| (0..3).map(|b| (b, &encoded[3 * g + b])).collect()).collect();
        let hoisted = eval.hoist(&a).unwrap();
        let parts = eval.rotate_and_sum_products(&hoisted, &babies, &terms).unwrap();
        let mut sum = parts[0].clone();
        for (part, &giant) in parts.iter().zip(&giants).skip(1) {
            eval.add_rotated_assign(&mut sum, part, giant).unwrap();
        }
        let squared = Scale::squared(level);
        let found = eval.divide_special_rescale(&sum).unwrap();
        assert_eq!((found.level(), found.scale()), (level - 1, Scale::canonical(level - 1)));
        // Nine products of the input's error and the encoding's; six of a baby's key switch; two
        // giant key switches at the scale of the products, of which c_1 is divided and rounded; one
        // division in the end. The input's error is one polynomial, but the nine random diagonals
        // make its terms independent.
        let baby = noise::key_switch_product(context, level, scale);
        let variance = 9.0 * POWER * (fresh(context, scale) + noise::encoding(context, scale))
            + 6.0 * POWER * baby
            + 2.0 * noise::key_switch(context, level, squared)
            + noise::division(context, Scale::canonical(level - 1));
        assert_errors("double hoisting", &f.decrypt(&found), &expected, variance);
        // The same with the steps one by one.
        let mut by_hand = crate::rlwe::ExtendedCiphertext::zero(context, level, squared, slots, a.key());
        for (i, baby) in eval.rotate_hoisted_lazy(&hoisted, &babies).unwrap().iter().enumerate() {
            eval.mul_plain_add_extended_assign(&mut by_hand, baby, &encoded[i]).unwrap();
        }
        assert_eq!(by_hand, parts[0]);
        assert_eq!(eval.extend(&a).unwrap().mod_down(context), a);
    }
}

#[test]
fn results_depend_neither_on_threads_nor_on_instruction_sets() {
    let run = |threads: usize, isa: crate::kernels::Isa| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let params = Params::new(mixed_literal(12)).unwrap();
            let context = Arc::new(Context::with_isa(params, isa).unwrap());
            let seed = Seed::from_bytes([1; 32]);
            let secret = Arc::new(crate::rlwe::SecretKey::generate(&context, &seed));
            let requests = [KeyRequest::relinearization(6), KeyRequest::rotation(&context, 1, 6)];
            let keys = EvaluationKeys::generate(&context, &secret, &seed, &requests).unwrap();
            let z = random_slots(context.params().slots(), 1);
            let plaintext = Encoder::new(&context).encode_complex(&z, Encoding::message(6)).unwrap();
            let a = Encryptor::with_secret_key(&context, &secret, seed).encrypt(&plaintext).unwrap();
            let eval = Evaluator::new(&context, &keys);
            let c = eval.relinearize_rescale(&eval.square(&eval.rotate(&a, 1).unwrap()).unwrap()).unwrap();
            // The same two rotations times the same two factors: by whole factors, and by compact
            // ones in both ways of hoisting.
            let (hoisted, steps) = (eval.hoist(&a).unwrap(), [0, 1]);
            let encoding = Encoding::factor(6).extended();
            let factor = Encoder::new(&context).encode_complex(&z, encoding).unwrap();
            let terms = [vec![(1, &factor), (0, &factor)]];
            let sums = eval.rotate_and_sum_products(&hoisted, &steps, &terms).unwrap();
            let whole = eval.divide_special_rescale(&sums[0]).unwrap();
            let values: Vec<f64> = z.iter().map(|z| z.re).collect();
            let compact = FactorEncoder::new(&context).encode_compact(&values, 6, encoding.scale, 8).unwrap();
            let terms = [vec![(1, &compact), (0, &compact)]];
            let (mut divided, mut extended) = (None, None);
            eval.add_products(&mut divided, &hoisted, &steps, &terms).unwrap();
            eval.add_products_extended(&mut extended, &hoisted, &steps, &terms).unwrap();
            let divided = eval.rescale(&divided.unwrap()[0]).unwrap();
            let extended = eval.divide_special_rescale(&extended.unwrap()[0]).unwrap();
            let results = [c, whole, divided, extended];
            let words: Vec<u64> =
                results.iter().flat_map(|c| c.polys()).flat_map(|p| p.data().to_vec()).collect();
            words
        })
    };
    let reference = run(1, crate::kernels::Isa::SCALAR);
    for isa in crate::kernels::Isa::available() {
        for threads in [1, 2, 3] {
            assert!(run(threads, isa) == reference, "{isa:?}, {threads} threads");
        }
    }
}

#[test]
fn chains_with_segments_are_crossed_by_plaintexts_only() {
    let fixed = vec![FixedScale { level: 2, log_scale: 40 }];
    let params = Params::segmented(literal(13, 5, 2, 45), fixed).unwrap();
    let f = Fixture::with_params(params, &[]);
    let (context, eval) = (&f.context, f.evaluator());
    let (x, y) = (random_slots(context.params().slots(), 1), random_slots(context.params().slots(), 2));
    let a = f.encrypt(&x, 3);
    assert_eq!(eval.mul(&a, &a).unwrap_err(), EvalError::SegmentStep { op: "mul", level: 3 });
    let encoding = Encoding::factor(3);
    let factor = Encoder::new(context).encode_complex(&y, encoding).unwrap();
    let c = eval.rescale(&eval.mul_plain(&a, &factor).unwrap()).unwrap();
    assert_eq!((c.level(), c.scale()), (2, Scale::canonical(2)));
    let ratio = encoding.scale.exact(context.params()).to_f64();
    let rounding = context.ring_degree() as f64 / 12.0 / (ratio * ratio);
    let variance = POWER * (fresh(context, Scale::canonical(3)) + rounding)
        + noise::division(context, Scale::canonical(2));
    assert_errors("factor across segments", &f.decrypt(&c), &zip(&x, &y, multiply), variance);
    // The constant of the drop is q D_2 / D_3, 40 bits long: its rounding is 2^-41 of the message.
    let c = eval.level_drop(&f.encrypt(&x, 4), 1).unwrap();
    assert_eq!((c.level(), c.scale()), (1, Scale::canonical(1)));
    let variance = fresh(context, Scale::canonical(4)) + noise::division(context, Scale::canonical(1));
    assert_errors("drop across segments", &f.decrypt(&c), &x, variance);
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let f = Fixture::new(literal(12, 4, 2, 45), &[1]);
    let (context, eval) = (&f.context, f.evaluator());
    let encoder = Encoder::new(context);
    let z = random_slots(context.params().slots(), 1);
    let (a, low) = (f.encrypt(&z, 3), f.encrypt(&z, 2));
    assert_eq!(eval.add(&a, &low).unwrap_err(), EvalError::LevelMismatch { op: "add", left: 3, right: 2 });
    let dropped = eval.mod_drop(&a, 2).unwrap();
    assert_eq!(
        eval.add(&low, &dropped).unwrap_err(),
        EvalError::ScaleMismatch { op: "add", expected: Scale::canonical(2), found: Scale::canonical(3) }
    );
    assert!(matches!(eval.mul(&low, &dropped), Err(EvalError::ScaleMismatch { .. })));
    let squared = eval.mul(&a, &a).unwrap();
    assert!(matches!(
        eval.mul(&squared, &a),
        Err(EvalError::SizeMismatch { op: "mul", expected: 2, found: 3 })
    ));
    assert!(matches!(eval.rotate(&squared, 1), Err(EvalError::SizeMismatch { .. })));
    assert!(matches!(eval.relinearize(&a), Err(EvalError::SizeMismatch { expected: 3, found: 2, .. })));
    assert!(matches!(eval.rescale(&a), Err(EvalError::ScaleMismatch { .. })));
    assert!(matches!(eval.level_drop(&low, 3), Err(EvalError::LevelTooLow { needed: 3, found: 2, .. })));
    let bottom = eval.level_drop(&a, 0).unwrap();
    assert!(matches!(eval.rescale(&bottom), Err(EvalError::LevelTooLow { needed: 1, found: 0, .. })));
    let element = crate::ring::automorphism::rotation_element(2, context.ring_degree());
    assert_eq!(
        eval.rotate(&a, 2).unwrap_err(),
        EvalError::MissingKey { op: "rotate", key: SwitchingKeyKind::Galois { element } }
    );
    let seed = Seed::from_bytes([1; 32]);
    let requests = [KeyRequest::rotation(context, 1, 1)];
    let short = EvaluationKeys::generate(context, &f.secret, &seed, &requests).unwrap();
    assert!(matches!(
        Evaluator::new(context, &short).rotate(&a, 1),
        Err(EvalError::KeyLevel { key_level: 1, level: 3, .. })
    ));
    let low_one = eval.level_drop(&a, 1).unwrap();
    assert!(Evaluator::new(context, &short).rotate(&low_one, 1).is_ok());
    let other = Fixture::new(literal(12, 4, 2, 45), &[]);
    let stranger = Arc::new(crate::rlwe::SecretKey::generate(&other.context, &Seed::from_bytes([99; 32])));
    let foreign = EvaluationKeys::generate(context, &stranger, &seed, &requests).unwrap();
    assert!(matches!(
        Evaluator::new(context, &foreign).rotate(&low_one, 1),
        Err(EvalError::KeyMismatch { .. })
    ));
    assert!(matches!(
        crate::ckks::Decryptor::new(context, &stranger).decrypt(&a),
        Err(EvalError::KeyMismatch { .. })
    ));
    let plain = encoder.encode(&[1.0], Encoding::message(2)).unwrap();
    assert!(matches!(eval.add_plain(&a, &plain), Err(EvalError::LevelTooLow { .. })));
    assert!(matches!(eval.add_plain(&dropped, &plain), Err(EvalError::PlaintextScaleMismatch { .. })));
    let factor = encoder.encode(&[1.0], Encoding::factor(3)).unwrap();
    assert!(matches!(eval.add_plain(&a, &factor), Err(EvalError::PlaintextForm { .. })));
    assert!(matches!(
        encoder.encode(&[1.0; 3], Encoding::message(1)),
        Err(EvalError::SlotCount { found: 3, .. })
    ));
    assert!(matches!(
        encoder.encode(&[0.0, f64::NAN], Encoding::message(1)),
        Err(EvalError::NotFinite { slot: 1, .. })
    ));
    assert!(matches!(encoder.encode(&[1e9], Encoding::message(0)), Err(EvalError::MessageTooLarge { .. })));
    assert!(matches!(encoder.encode(&[1.0], Encoding::message(9)), Err(EvalError::LevelTooHigh { .. })));
    assert!(eval.mul_scalar(&a, f64::INFINITY).is_err());
    // Level 2 has narrow primes that level 3 does not have.
    let f = Fixture::new(packed_literal(12), &[]);
    let (eval, encoder) = (f.evaluator(), Encoder::new(&f.context));
    let (a, low) = (f.encrypt(&z, 3), f.encrypt(&z, 2));
    let refused = eval.combine(
        2,
        Scale::canonical(2),
        &Combination { sources: vec![(&a, 1.into())], constant: 0.into() },
    );
    assert_eq!(refused.unwrap_err(), EvalError::NotNested { op: "combine", from: 3, to: 2 });
    assert!(matches!(eval.product_at(2, &low, &a), Err(EvalError::NotNested { op: "product", .. })));
    let plain = encoder.encode(&[1.0], Encoding::factor(3)).unwrap();
    assert!(matches!(eval.mul_plain(&low, &plain), Err(EvalError::NotNested { op: "mul_plain", .. })));
    let plain = encoder.encode(&[1.0], Encoding::message(3)).unwrap();
    assert!(matches!(eval.add_plain(&low, &plain), Err(EvalError::NotNested { op: "add_plain", .. })));
}

/// Combinations of much the same ciphertexts, made together, are those that are made one by one, to
/// the last bit: few sources and many, of other levels and sizes, with constants and without.
#[test]
fn combinations_made_together_are_those_made_one_by_one() {
    let f = Fixture::new(literal(13, 5, 2, 40), &[]);
    let eval = f.evaluator();
    let z = random_slots(1 << 12, 7);
    let high: Vec<Ciphertext> = (0..70).map(|_| f.encrypt(&z, 4)).collect();
    let (low, product) = (f.encrypt(&z, 3), eval.mul(&high[0], &high[1]).unwrap());
    fn combination<'c>(sources: &[&'c Ciphertext], constant: i64) -> Combination<'c> {
        let factors = (0i64..).map(|i| (7919 * i - 20_000).into());
        Combination { sources: sources.iter().copied().zip(factors).collect(), constant: constant.into() }
    }
    let all: Vec<&Ciphertext> = high.iter().chain([&low]).collect();
    let combinations = [
        combination(&all, 12_345),
        combination(&all[..1], 0),
        combination(&all[3..20], -5),
        combination(&[&low, &product, &high[9]], 1),
    ];
    let (level, scale) = (3, Scale::squared(3));
    let together = eval.combine_all(level, scale, &combinations).unwrap();
    assert_eq!(together.iter().map(Ciphertext::size).collect::<Vec<_>>(), [2, 2, 2, 3]);
    for (found, combination) in together.iter().zip(&combinations) {
        assert_eq!(*found, eval.combine(level, scale, combination).unwrap());
    }
    assert_eq!(eval.combine_all(level, scale, &[]).unwrap(), []);
    let above = [combination(&all, 0), combination(&[&low], 0)];
    assert!(matches!(eval.combine_all(4, Scale::squared(4), &above), Err(EvalError::LevelTooLow { .. })));
}
