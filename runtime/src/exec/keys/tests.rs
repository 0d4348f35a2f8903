//! Keys of a program that bootstraps: which they are, and as a file.

use std::sync::Arc;

use fhec_ir::bootstrap::BootstrapParams;
use fhec_ir::ckks::{CiphertextType, Ckks, Op};
use fhec_ir::func::Func;
use fhec_ir::key_demand::{self, Encapsulation};
use fhec_ir::params::Secret;

use super::{ArrivingKeys, KeyRecords, KeysError, ProgramKeys, ReadError, most_file_bytes};
use crate::circuits::mod_raise::EncapsulationKeys;
use crate::ckks::{Encoder, Encoding, Encryptor};
use crate::error::{EvalError, FormatError};
use crate::exec::{Control, ExecError, Prepared, Session};
use crate::ring::{Context, Seed};
use crate::rlwe::wire::frame::{Header, Kind, seal};
use crate::rlwe::{Ciphertext, EvaluationKeys, KeyRequest, SecretKey};
use crate::testing::bootstrap::{bootstrap, params};
use crate::testing::random_slots;

const LOG_SLOTS: u32 = 6;

struct Rig {
    context: Arc<Context>,
    secret: Arc<SecretKey>,
    program: Arc<Func<Ckks>>,
    keys: Arc<ProgramKeys>,
}

impl Rig {
    fn new(ephemeral: bool) -> Self {
        let b = bootstrap(LOG_SLOTS, false, ephemeral);
        let secret =
            if ephemeral { Secret::UniformTernary } else { Secret::SparseTernary { hamming_weight: 32 } };
        let context = Arc::new(Context::new(params(&b, 10, secret)).unwrap());
        let mut program: Func<Ckks> = Func::new("refresh");
        let x = program.add_input(CiphertextType::canonical(1, 1 << LOG_SLOTS, 2), None);
        let y = program.push(Op::Bootstrap { x, level: 4, sine: None, mask: None }).unwrap();
        let z = program.push(Op::Rotate { x: y, steps: 7 }).unwrap();
        program.set_outputs(vec![z]);
        BootstrapParams::set_in_program(&mut program, &vec![b]);
        let seed = Seed::from_bytes([23; 32]);
        let secret = Arc::new(SecretKey::generate(&context, &seed));
        let keys = Arc::new(ProgramKeys::generate(&context, &secret, &seed, &program).unwrap());
        Rig { context, secret, program: Arc::new(program), keys }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.keys.write(&self.context, &mut bytes).unwrap();
        bytes
    }

    fn run(&self, keys: impl Into<Arc<ProgramKeys>>) -> Result<Vec<Vec<Ciphertext>>, ExecError> {
        let values = random_slots(1 << LOG_SLOTS, 1);
        let plaintext = Encoder::new(&self.context).encode_complex(&values, Encoding::message(2)).unwrap();
        let mut encryptor =
            Encryptor::with_secret_key(&self.context, &self.secret, Seed::from_bytes([29; 32]));
        let input = vec![vec![encryptor.encrypt(&plaintext).unwrap()]];
        let prepared = Prepared::new(&self.context, Arc::clone(&self.program), 0).unwrap();
        Session::new(&Arc::new(prepared), keys)?.execute(input, &Control::default())
    }
}

#[test]
fn the_keys_are_those_that_were_predicted_and_no_others() {
    for ephemeral in [true, false] {
        let rig = Rig::new(ephemeral);
        let predicted = key_demand::KeyDemand::of(&rig.program, rig.context.params()).unwrap();
        assert_eq!(rig.keys.bytes() as u64, predicted.bytes(rig.context.params()));
        assert_eq!(rig.keys.encapsulation().is_some(), ephemeral);
        // In a file: as many bytes, and headers.
        let (file, halves) = (rig.bytes().len() as u64, predicted.file_bytes(rig.context.params()));
        let headers = file.checked_sub(halves).unwrap();
        assert!(headers < 512 * (predicted.count() as u64 + 2), "{headers} bytes of headers");
        let ours = key_demand::KeyDemand::of_ops(&rig.program);
        assert_eq!(ours.rotations.into_iter().collect::<Vec<_>>(), [(7, 4)]);
        rig.run(Arc::clone(&rig.keys)).unwrap();

        // One key fewer, and one level less, are noticed before any work.
        let requests = KeyRequest::of_set(&predicted, rig.context.params());
        let seed = Seed::from_bytes([23; 32]);
        for index in 0..requests.len() {
            let mut fewer = requests.clone();
            let removed = fewer.remove(index);
            fewer.extend(removed.level.checked_sub(1).map(|level| KeyRequest { level, ..removed }));
            let evaluation = EvaluationKeys::generate(&rig.context, &rig.secret, &seed, &fewer).unwrap();
            let encapsulation = predicted
                .encapsulation
                .as_ref()
                .map(|keys| EncapsulationKeys::generate(&rig.context, &rig.secret, keys, &seed).unwrap());
            let keys = Arc::new(ProgramKeys::new(evaluation, encapsulation).unwrap());
            match rig.run(keys) {
                Err(ExecError::MissingKeys { missing, .. }) => assert_eq!(missing, [removed]),
                other => panic!("without {removed:?}: {:?}", other.map(|_| ())),
            }
        }
    }
}

#[test]
fn encapsulation_keys_that_do_not_fit_are_refused() {
    let rig = Rig::new(true);
    let seed = Seed::from_bytes([31; 32]);
    let evaluation = || rig.keys.evaluation().clone();
    let none = ProgramKeys::new(evaluation(), None).unwrap();
    assert!(matches!(rig.run(none), Err(ExecError::Params { mnemonic: "bootstrap", .. })));
    let needed = key_demand::KeyDemand::of(&rig.program, rig.context.params()).unwrap();
    let needed = needed.encapsulation.unwrap();
    let low = Encapsulation { level: needed.level - 1, ..needed.clone() };
    let low = EncapsulationKeys::generate(&rig.context, &rig.secret, &low, &seed).unwrap();
    let low = ProgramKeys::new(evaluation(), Some(low)).unwrap();
    assert!(matches!(rig.run(low), Err(ExecError::Params { mnemonic: "bootstrap", .. })));
    let unrotated = Encapsulation { rotations: [1].into(), ..needed.clone() };
    let unrotated = EncapsulationKeys::generate(&rig.context, &rig.secret, &unrotated, &seed).unwrap();
    let unrotated = ProgramKeys::new(evaluation(), Some(unrotated)).unwrap();
    assert!(matches!(rig.run(unrotated), Err(ExecError::Params { mnemonic: "bootstrap", .. })));
    let stranger = SecretKey::generate(&rig.context, &seed);
    let foreign = EncapsulationKeys::generate(&rig.context, &stranger, &needed, &seed).unwrap();
    assert!(matches!(ProgramKeys::new(evaluation(), Some(foreign)), Err(KeysError::Foreign { .. })));
}

#[test]
fn a_file_gives_the_same_keys_back() {
    for ephemeral in [true, false] {
        let rig = Rig::new(ephemeral);
        let bytes = rig.bytes();
        let file = tempfile::tempfile().unwrap();
        rig.keys.write(&rig.context, &mut &file).unwrap();
        let expected = rig.run(Arc::clone(&rig.keys)).unwrap();
        for keys in [
            ProgramKeys::from_bytes(&rig.context, &bytes).unwrap(),
            ProgramKeys::read(&rig.context, &file).unwrap(),
        ] {
            let keys = Arc::new(keys);
            assert_eq!((keys.count(), keys.bytes()), (rig.keys.count(), rig.keys.bytes()));
            assert_eq!(rig.run(Arc::clone(&keys)).unwrap(), expected);
            let mut again = Vec::new();
            keys.write(&rig.context, &mut again).unwrap();
            assert!(again == bytes);
        }
    }
}

#[test]
fn records_made_one_by_one_are_the_file() {
    for ephemeral in [true, false] {
        let Rig { context, secret, program, .. } = Rig::new(ephemeral);
        let mut needed = key_demand::KeyDemand::of(&program, context.params()).unwrap();
        let records = KeyRecords::new(&context, &needed).unwrap();
        let seed = Seed::from_bytes([23; 32]);
        let record = |index| records.record(&context, &secret, &seed, index).unwrap();
        // In any order.
        let mut made: Vec<Vec<u8>> = (0..records.count()).rev().map(|index| record(index).unwrap()).collect();
        made.reverse();
        let mut file = Vec::new();
        let keys = ProgramKeys::generate_needed(&context, &secret, &seed, &needed).unwrap();
        keys.write(&context, &mut file).unwrap();
        assert!(made.concat() == file);
        assert!(record(records.count()).is_none() && record(records.count() + 1).is_none());
        // Of another seed each, they are keys all the same.
        let other = records.record(&context, &secret, &Seed::from_bytes([24; 32]), 1).unwrap().unwrap();
        assert!(other != made[1]);
        made[1] = other;
        ProgramKeys::from_bytes(&context, &made.concat()).unwrap();
        needed.relinearization = Some(context.params().top_level() + 1);
        assert!(matches!(
            KeyRecords::new(&context, &needed),
            Err(KeysError::Eval(EvalError::LevelTooHigh { .. }))
        ));
    }
}

#[test]
fn encapsulation_keys_come_back_and_damaged_ones_do_not() {
    let rig = Rig::new(true);
    let context = &rig.context;
    let keys = rig.keys.encapsulation().unwrap();
    let bytes = keys.to_bytes(context);
    // Half of the keys, in about 6 of 8 bytes.
    assert!(bytes.len() < keys.bytes() / 2 + 400);
    let read = |bytes: &[u8]| EncapsulationKeys::from_bytes(context, bytes);
    let again = read(&bytes).unwrap();
    assert_eq!((again.id(), again.level(), again.bytes()), (keys.id(), keys.level(), keys.bytes()));
    assert!(again.to_bytes(context) == bytes);

    for len in (0..bytes.len()).step_by(9973).chain(0..400) {
        let cut = read(&bytes[..len]).unwrap_err();
        assert!(matches!(cut, FormatError::Magic { .. } | FormatError::Length { .. }), "{len}: {cut}");
    }
    for position in (0..bytes.len()).step_by(9973).chain(0..400) {
        let mut flipped = bytes.clone();
        flipped[position] ^= 1 << (position % 8);
        assert!(read(&flipped).is_err(), "byte {position}");
    }
    let other = Rig::new(false);
    assert!(matches!(
        EncapsulationKeys::from_bytes(&other.context, &bytes),
        Err(FormatError::Fingerprint { .. })
    ));
}

#[test]
fn well_formed_nonsense_is_no_encapsulation_key() {
    let rig = Rig::new(true);
    let context = &rig.context;
    let header = Header {
        level: 3,
        uniform_seed: vec![1; 32],
        ephemeral_seed: vec![2; 32],
        ephemeral_weight: 32,
        rotations: vec![0, 3],
        special: 2,
        ..Header::new(context, rig.secret.id())
    };
    let read = |header: &Header, body: &[u8]| {
        EncapsulationKeys::from_bytes(context, &seal(Kind::EncapsulationKeys, header, body)).map(|_| ())
    };
    let Err(FormatError::Length { expected, found: 0, .. }) = read(&header, &[]) else {
        panic!("a body is missing");
    };
    assert_eq!(read(&header, &vec![0; expected]), Ok(()));
    assert!(matches!(read(&header, &vec![0xff; expected]), Err(FormatError::Residue { .. })));
    let mut behind = vec![0; expected];
    behind[expected - 8..].fill(0xff);
    assert!(matches!(read(&header, &behind), Err(FormatError::Residue { .. })));
    for bad in [
        Header { special: 1, ..header.clone() },
        Header { level: 70_000, ..header.clone() },
        Header { uniform_seed: vec![1; 31], ..header.clone() },
        Header { ephemeral_seed: Vec::new(), ..header.clone() },
        Header { ephemeral_weight: 0, ..header.clone() },
        Header { ephemeral_weight: u32::MAX, ..header.clone() },
        Header { special: 0, ..header.clone() },
        Header { special: 40, ..header.clone() },
        Header { rotations: Vec::new(), ..header.clone() },
        Header { rotations: vec![3, 3], ..header.clone() },
        Header { rotations: vec![0, 1 << 20], ..header.clone() },
        Header { rotations: (0..1025).collect(), ..header.clone() },
        Header { key: vec![1], ..header.clone() },
    ] {
        let error = read(&bad, &vec![0; expected]).unwrap_err();
        assert!(matches!(error, FormatError::Header { .. }), "{bad:?}: {error}");
    }
    let higher = Header { level: 4, ..header };
    assert!(matches!(read(&higher, &vec![0; expected]), Err(FormatError::Length { .. })));
}

#[test]
fn damaged_and_assembled_files_are_refused() {
    let rig = Rig::new(true);
    let context = &rig.context;
    let bytes = rig.bytes();
    let read = |bytes: &[u8]| ProgramKeys::from_bytes(context, bytes).map(|_| ());
    let refused = |bytes: &[u8]| matches!(read(bytes), Err(ReadError::Format(_)));
    for len in (0..bytes.len()).step_by(bytes.len() / 61).chain(0..200) {
        assert!(refused(&bytes[..len]), "{len}");
    }
    assert!(refused(&[&bytes[..], &[0]].concat()));
    let file = tempfile::tempfile().unwrap();
    rig.keys.write(context, &mut &file).unwrap();
    for len in [bytes.len() - 1, bytes.len() / 2, 4096, 100, 1, 0] {
        file.set_len(len as u64).unwrap();
        assert!(matches!(ProgramKeys::read(context, &file), Err(ReadError::Format(_))), "{len}");
    }
    for position in (0..bytes.len()).step_by(bytes.len() / 61).chain((0..200).step_by(7)) {
        let mut flipped = bytes.clone();
        flipped[position] ^= 1 << (position % 8);
        assert!(refused(&flipped), "byte {position}");
    }

    let set = |count: u32, encapsulation: bool| {
        let header = Header { count, encapsulation, ..Header::new(context, rig.secret.id()) };
        seal(Kind::ProgramKeys, &header, &[])
    };
    let key = rig.keys.evaluation().iter().next().unwrap().to_bytes(context);
    let encapsulation = rig.keys.encapsulation().unwrap().to_bytes(context);
    let format = |parts: &[&[u8]]| match read(&parts.concat()) {
        Err(ReadError::Format(error)) => error,
        other => panic!("{other:?}"),
    };
    read(&[&set(1, true)[..], &key, &encapsulation].concat()).unwrap();
    assert!(matches!(format(&[&set(u32::MAX, false), &key]), FormatError::Header { .. }));
    assert!(matches!(format(&[&set(2, false), &key]), FormatError::Magic { .. }));
    assert!(matches!(format(&[&set(2, false), &key, &key]), FormatError::Header { .. }));
    assert!(matches!(format(&[&set(1, false), &key, &encapsulation]), FormatError::Header { .. }));
    assert!(matches!(format(&[&set(1, true), &encapsulation, &key]), FormatError::Magic { .. }));
    // The prefix of a key that claims everything.
    let mut huge = key.clone();
    huge[8..16].fill(0xff);
    assert!(matches!(format(&[&set(1, false), &huge]), FormatError::Length { .. }));
    // The format before bootstraps.
    let mut old = set(0, false);
    old[5] = 1;
    assert!(matches!(format(&[&old]), FormatError::Version { found: 1, supported: 2, .. }));

    // Keys of somebody else, in a set of ours.
    let seed = Seed::from_bytes([37; 32]);
    let stranger = SecretKey::generate(context, &seed);
    let theirs = ProgramKeys::generate(context, &stranger, &seed, &rig.program).unwrap();
    let their_key = theirs.evaluation().iter().next().unwrap().to_bytes(context);
    let their_pair = theirs.encapsulation().unwrap().to_bytes(context);
    assert!(matches!(format(&[&set(1, false), &their_key]), FormatError::Header { .. }));
    assert!(matches!(format(&[&set(1, true), &key, &their_pair]), FormatError::Header { .. }));
    let other = Rig::new(false);
    assert!(matches!(
        ProgramKeys::from_bytes(&other.context, &bytes),
        Err(ReadError::Format(FormatError::Fingerprint { .. }))
    ));
}

/// Whatever the sizes of the pieces are, all is checked at the end and a fault is found with the
/// first record that has one.
#[test]
fn arriving_keys_are_checked_record_by_record() {
    use std::io::{Seek, Write};
    for encapsulated in [true, false] {
        let rig = Rig::new(encapsulated);
        let context = &rig.context;
        let bytes = rig.bytes();
        let demand = key_demand::KeyDemand::of(&rig.program, context.params()).unwrap();
        let most = most_file_bytes(&demand, context.params());
        assert!((bytes.len() as u64..2 * bytes.len() as u64).contains(&most), "{most}");
        let arrive = |bytes: &[u8], piece: usize| {
            let (mut file, mut keys) = (tempfile::tempfile().unwrap(), ArrivingKeys::new(&demand));
            for piece in bytes.chunks(piece) {
                file.write_all(piece).unwrap();
                keys.check(context, &file).map_err(|error| (file.stream_position().unwrap(), error))?;
            }
            Ok((keys.is_whole(), keys.id()))
        };
        for piece in [bytes.len(), bytes.len() / 3 + 1, 100_003] {
            assert_eq!(arrive(&bytes, piece).map_err(|_| ()), Ok((true, Some(rig.secret.id()))));
            assert!(!arrive(&bytes[..bytes.len() - 1], piece).map_err(|_| ()).unwrap().0);
            let longer = [&bytes[..], &[0]].concat();
            assert!(arrive(&longer, piece).is_err());
        }
        // A damaged byte is found as soon as its record is whole.
        let mut flipped = bytes.clone();
        flipped[2000] ^= 1;
        let (found_at, error) = arrive(&flipped, 50_000).unwrap_err();
        assert!(matches!(error, ReadError::Format(FormatError::Checksum { .. })), "{error}");
        assert!(found_at < bytes.len() as u64 / 2, "{found_at} of {}", bytes.len());
        let other = Rig::new(!encapsulated);
        let (found_at, _) = arrive(&other.bytes(), 4096).unwrap_err();
        assert_eq!(found_at, 4096);
    }
}
