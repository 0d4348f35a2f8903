use super::*;
use crate::ckks::{Decryptor, Encoder, Encoding, Encryptor};
use crate::ring::Seed;
use crate::rlwe::EvaluationKeys;
use crate::testing::{Fixture, literal, mixed_literal, random_slots};

fn fixtures() -> Vec<Fixture> {
    vec![Fixture::new(literal(12, 4, 2, 45), &[1]), Fixture::new(mixed_literal(11), &[1])]
}

#[test]
fn everything_comes_back() {
    for f in fixtures() {
        let (context, eval) = (&f.context, f.evaluator());
        let z = random_slots(context.params().slots() / 4, 1);
        let a = f.encrypt(&z, 2);
        let square = eval.mul(&a, &a).unwrap();
        for c in [&a, &square, &eval.mod_drop(&a, 1).unwrap()] {
            assert_eq!(Ciphertext::from_bytes(context, &c.to_bytes(context)).unwrap(), *c);
        }
        let plaintext = Encoder::new(context).encode_complex(&z, Encoding::message(2)).unwrap();
        let mut encryptor = Encryptor::with_secret_key(context, &f.secret, Seed::from_bytes([1; 32]));
        let seeded = encryptor.encrypt_seeded(&plaintext).unwrap();
        let bytes = seeded.to_bytes(context);
        assert!(bytes.len() < a.to_bytes(context).len() / 2 + 200);
        assert_eq!(Ciphertext::from_bytes(context, &bytes).unwrap(), seeded.expand(context));
        let secret = SecretKey::from_bytes(context, &f.secret.to_bytes(context)).unwrap();
        assert_eq!((secret.id(), secret.poly()), (f.secret.id(), f.secret.poly()));
        let public = PublicKey::generate(context, &f.secret, &Seed::from_bytes([2; 32]));
        let again = PublicKey::from_bytes(context, &public.to_bytes(context)).unwrap();
        assert_eq!((again.body(), again.uniform()), (public.body(), public.uniform()));
        let mut keys = EvaluationKeys::new(f.secret.id());
        for key in f.keys.iter() {
            keys.insert(SwitchingKey::from_bytes(context, &key.to_bytes(context)).unwrap()).unwrap();
        }
        assert_eq!(keys.iter().count(), 3);
        let with_keys = crate::ckks::Evaluator::new(context, &keys);
        assert_eq!(with_keys.rotate(&a, 1).unwrap(), eval.rotate(&a, 1).unwrap());
        assert_eq!(with_keys.relinearize(&square).unwrap(), eval.relinearize(&square).unwrap());
    }
}

/// Half the bytes of the same ciphertext, for any number of slots; and no answer.
#[test]
fn seeded_ciphertexts_are_the_same_in_half_the_bytes() {
    for f in fixtures() {
        let context = &f.context;
        let encryptor = || Encryptor::with_secret_key(context, &f.secret, Seed::from_bytes([1; 32]));
        for (slots, level) in [(context.params().slots(), context.params().top_level()), (16, 1), (1, 0)] {
            let z = random_slots(slots, 1);
            let plaintext = Encoder::new(context).encode_complex(&z, Encoding::message(level)).unwrap();
            let (mut whole, mut seeded) = (encryptor(), encryptor());
            for _ in 0..2 {
                let full = whole.encrypt(&plaintext).unwrap();
                let bytes = seeded.encrypt_seeded(&plaintext).unwrap().to_bytes(context);
                let full_bytes = full.to_bytes(context);
                assert!(bytes.len() < full_bytes.len() / 2 + 150, "{} of {}", bytes.len(), full_bytes.len());
                assert_eq!(Ciphertext::from_bytes(context, &bytes).unwrap(), full);
                assert_eq!(Ciphertext::from_full_bytes(context, &full_bytes).unwrap(), full);
                let refused = Ciphertext::from_full_bytes(context, &bytes).unwrap_err();
                assert_eq!(refused, FormatError::Seeded { object: "ciphertext" });
            }
        }
    }
}

/// The seed that is sent gives the uniform half, and neither the error nor what it was made from.
#[test]
fn the_seed_that_is_sent_does_not_give_the_error() {
    use crate::ring::sampling::gaussian;
    let f = &fixtures()[0];
    let context = &f.context;
    let secret_seed = Seed::from_bytes([1; 32]);
    let plaintext = Encoder::new(context).encode(&[0.5; 16], Encoding::message(1)).unwrap();
    let mut encryptor = Encryptor::with_secret_key(context, &f.secret, secret_seed);
    let seeded = encryptor.encrypt_seeded(&plaintext).unwrap();
    let public = Seed::from_bytes(seeded.seed);
    let decrypted = Decryptor::new(context, &f.secret).decrypt(&seeded.expand(context)).unwrap();
    let mut error = decrypted.poly().clone();
    error.sub_assign(context, plaintext.poly());
    error.to_coefficients(context);
    let error: Vec<i64> = context.centred_coefficients(&error, 1).iter().map(|&x| x as i64).collect();
    assert!(error.iter().all(|x| x.abs() < 30) && error.iter().any(|&x| x != 0));
    let guesses = ["error", "uniform", "mask", "limb"].map(|label| (0..3).map(move |i| (label, i)));
    let guesses = guesses.into_iter().flatten().map(|(label, i)| public.child(label, i));
    for guess in guesses.chain([public.clone()]) {
        let mut found = vec![0i8; context.ring_degree()];
        gaussian(&mut found, &mut guess.rng());
        let alike = found.iter().zip(&error).filter(|(x, e)| i64::from(**x) == **e).count();
        // Two independent samples agree with probability 1 / (2 sqrt(pi) 3.2) = 0.088.
        assert!(alike < context.ring_degree() / 8, "{alike} coefficients of the error");
    }
}

#[test]
fn damaged_bytes_are_refused() {
    let f = &fixtures()[0];
    let context = &f.context;
    let z = random_slots(16, 1);
    let bytes = f.encrypt(&z, 1).to_bytes(context);
    let read = |bytes: &[u8]| Ciphertext::from_bytes(context, bytes);
    for len in [0, 3, 15, 16, 40, bytes.len() / 2, bytes.len() - 1] {
        let cut = read(&bytes[..len]).unwrap_err();
        assert!(matches!(cut, FormatError::Magic { .. } | FormatError::Length { .. }), "{len}: {cut}");
    }
    let mut long = bytes.clone();
    long.push(0);
    assert!(matches!(read(&long), Err(FormatError::Length { .. })));
    for position in (0..bytes.len()).step_by(97).chain(0..120) {
        let mut flipped = bytes.clone();
        flipped[position] ^= 1 << (position % 8);
        assert!(read(&flipped).is_err(), "byte {position}");
    }
    assert!(matches!(read(&f.secret.to_bytes(context)), Err(FormatError::Magic { .. })));
    let mut newer = bytes.clone();
    newer[5] = 9;
    assert!(matches!(read(&newer), Err(FormatError::Version { found: 9, .. })));
    // A length field that claims everything allocates nothing.
    let mut huge = bytes.clone();
    huge[8..16].fill(0xff);
    assert!(matches!(read(&huge), Err(FormatError::Length { .. })));
}

#[test]
fn well_formed_nonsense_is_refused() {
    let f = &fixtures()[0];
    let context = &f.context;
    let a = f.encrypt(&random_slots(16, 1), 1);
    let primes = primes(context, context.basis(1), 1);
    let good = ciphertext_header(context, a.key(), 1, a.scale(), 16, 2);
    let body =
        [pack(context, &primes, a.polys()[0].data()), pack(context, &primes, a.polys()[1].data())].concat();
    let read = |header: &Header, body: &[u8]| {
        Ciphertext::from_bytes(context, &seal(Kind::Ciphertext, header, body)).map(|_| ())
    };
    assert_eq!(read(&good, &body), Ok(()));
    let foreign = Fixture::new(literal(12, 3, 2, 45), &[]).context;
    let other = Header { fingerprint: foreign.fingerprint().to_vec(), ..good.clone() };
    assert!(matches!(read(&other, &body), Err(FormatError::Fingerprint { .. })));
    assert!(matches!(read(&Header { level: 2, ..good.clone() }, &body), Err(FormatError::Length { .. })));
    for bad in [
        Header { level: 70_000, ..good.clone() },
        Header { scale_level: 9, ..good.clone() },
        Header { scale_power: 3, ..good.clone() },
        Header { slots: 12, ..good.clone() },
        Header { slots: 1 << 40, ..good.clone() },
        Header { polys: 4_000_000_000, ..good.clone() },
        Header { key: vec![1], ..good.clone() },
    ] {
        assert!(matches!(read(&bad, &body), Err(FormatError::Header { .. })), "{bad:?}");
    }
    let seeded = Header { polys: 2, uniform_seed: vec![1; 32], ..good.clone() };
    assert!(matches!(read(&seeded, &body), Err(FormatError::Header { .. })));
    let short_seed = Header { polys: 1, uniform_seed: vec![1; 31], ..good.clone() };
    assert!(matches!(read(&short_seed, &body[..body.len() / 2]), Err(FormatError::Header { .. })));
    // The largest word of the first prime's bit length is not below the prime.
    let mut residue = body.clone();
    residue[..8].fill(0xff);
    let prime = context.modulus(0).value();
    assert_eq!(read(&good, &residue), Err(FormatError::Residue { object: "ciphertext", prime }));
    let key = Header { element: 4, uniform_seed: vec![0; 32], ..Header::new(context, a.key()) };
    assert!(matches!(
        SwitchingKey::from_bytes(context, &seal(Kind::SwitchingKey, &key, &[])),
        Err(FormatError::Header { .. })
    ));
    let secret =
        seal(Kind::SecretKey, &Header::new(context, a.key()), &vec![0xff; context.ring_degree() / 4]);
    assert!(matches!(SecretKey::from_bytes(context, &secret), Err(FormatError::Residue { .. })));
}

#[test]
fn debug_output_shows_no_secrets() {
    let f = &fixtures()[0];
    let text = format!("{:?} {:?} {:?}", f.secret, f.keys, f.context);
    assert!(text.len() < 2000, "{text}");
    let coefficients = format!("{:?}", &f.secret.coefficients()[..8]);
    assert!(!text.contains(&coefficients));
}
