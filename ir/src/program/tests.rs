use prost::Message as _;

use super::file::{FORMAT_VERSION, FuncMessage};
use super::wire::{InterfaceMessage, PortMessage, TensorMessage};
use super::*;
use crate::bootstrap::BootstrapParams;
use crate::params::ParamsLiteral;
use crate::params::Secret;
use crate::prime::ntt_primes_near;
use crate::prime_set::PrimeSet;
use crate::text::{ConstSource, parse_func, print_func};

/// A dense layer on four levels of a ring of degree 2^13: 228 bits of modulus, of which the table
/// admits 214 at 128 bits of security and 277 at 98.
fn program() -> Program {
    let network = "func nn net {
        const @0 : f32[10, 64] = random(1)
        input %0 : f32[1, 64] \"image\"
        %1 = dense(%0) {weight=@0}
        %2 = relu(%1)
        return %2
    }";
    let schedule = "func ckks net {
        meta input_layout = [{shape=[64, 1, 1], gap=1, multiplex=1, plane=[1, 1], period=64, slots=4096}]
        meta output_layout = [{shape=[10, 1, 1], gap=1, multiplex=1, plane=[1, 1], period=64, slots=4096}]
        meta output_factor = 2.5
        const @0 : f32[10, 64] = random(1)
        input %0 : ct<1, 4096, 3, D3, 2> \"image\"
        %1 = linear_map(%0) {map={kind={dense=@0}, input={shape=[64, 1, 1], gap=1, multiplex=1, plane=[1, 1], period=64, slots=4096}, output={shape=[10, 1, 1], gap=1, multiplex=1, plane=[1, 1], period=64, slots=4096}}, baby_step=8}
        %2 = rescale(%1)
        return %2
    }";
    let q: Vec<u64> = ntt_primes_near(1 << 45, 13).take(4).collect();
    let literal = ParamsLiteral {
        name: "toy-n13".into(),
        log_n: 13,
        levels: PrimeSet::prefixes(1..=q.len()),
        q,
        p: ntt_primes_near((1 << 48) - 1, 13).take(1).collect(),
        digit_limbs: 1,
        log_scale: 45,
        secret: Secret::UniformTernary,
    };
    let schedule = parse_func(schedule, &ConstSource::default()).unwrap();
    let network = parse_func(network, &ConstSource::default()).unwrap();
    let params = Params::new(literal).unwrap();
    let preprocess = Preprocess::new(255.0, vec![0.5], vec![0.25]).unwrap();
    let mut plan = Plan::bare(2);
    plan.ops[1].log2_error = -12.5;
    plan.certify(&params, &Certificate::of(&params, None).unwrap());
    Program::new(schedule, params, network, plan, preprocess).unwrap()
}

/// A file's parts before they are sealed, in the order of their kinds; a part may be left out.
#[derive(Clone)]
struct Parts {
    interface: InterfaceMessage,
    schedule: FuncMessage,
    reference: FuncMessage,
    plan: String,
}

fn parts() -> Parts {
    let program = program();
    Parts {
        interface: (&program.interface).into(),
        schedule: FuncMessage::of(&program.schedule),
        reference: FuncMessage::of(program.reference().unwrap()),
        plan: program.plan.to_json().unwrap(),
    }
}

/// A file of sections with these kinds, and right checksums.
fn seal(sections: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let sections: Vec<(u32, Vec<u8>)> =
        sections.iter().map(|(kind, bytes)| (*kind, zstd::bulk::compress(bytes, 1).unwrap())).collect();
    let mut bytes = b"FHEP".to_vec();
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&(sections.len() as u32).to_le_bytes());
    for (kind, section) in &sections {
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(&(section.len() as u64).to_le_bytes());
        bytes.extend_from_slice(blake3::hash(section).as_bytes());
    }
    let digest = blake3::hash(&bytes);
    bytes.extend_from_slice(digest.as_bytes());
    sections.iter().for_each(|(_, section)| bytes.extend_from_slice(section));
    bytes
}

impl Parts {
    fn sections(&self) -> Vec<(u32, Vec<u8>)> {
        let program = ProgramId::of_text(&self.schedule.text).0.to_vec();
        let interface = InterfaceMessage { program, ..self.interface.clone() };
        vec![
            (1, interface.encode_to_vec()),
            (2, self.schedule.encode_to_vec()),
            (3, self.reference.encode_to_vec()),
            (4, self.plan.clone().into_bytes()),
        ]
    }
}

/// What a reader says of a file whose parts `change` was made to.
fn changed(change: impl FnOnce(&mut Parts)) -> Result<Program, ProgramError> {
    let mut parts = parts();
    change(&mut parts);
    Program::from_bytes(&seal(&parts.sections()), 98)
}

#[track_caller]
fn refused(result: Result<Program, ProgramError>, part: &str) {
    let error = result.expect_err(part);
    assert!(error.to_string().contains(part), "`{part}` is not in: {error}");
}

#[test]
fn writing_and_reading_are_inverse_and_deterministic() {
    let program = program();
    let bytes = program.to_bytes();
    assert_eq!(Program::from_bytes(&bytes, 98).unwrap(), program);
    assert_eq!(bytes, program.to_bytes());
    assert_eq!(program.interface.output().factor, 2.5);
    assert_eq!(program.interface.program, ProgramId::of(&program.schedule));
}

#[test]
fn each_reader_reads_its_own_sections() {
    let program = program();
    // A client: of its own file, and of any other.
    let of_client = program.interface.to_bytes();
    for bytes in [&of_client, &program.to_bytes()] {
        assert_eq!(Interface::from_bytes(bytes, 98).unwrap(), program.interface);
    }
    refused(Program::from_bytes(&of_client, 98), "it is a client's");
    // A server, which has no plain network.
    let of_server = program.clone().without_reference();
    let read = Program::from_bytes(&of_server.to_bytes(), 98).unwrap();
    assert_eq!(read, of_server);
    assert!(read.reference().unwrap_err().to_string().contains("made for a server"));
    // What is wrong with other sections is nothing to a client.
    let mut sections = parts().sections();
    sections[1].1 = b"no function".to_vec();
    sections[3].1 = b"no plan".to_vec();
    assert_eq!(Interface::from_bytes(&seal(&sections), 98).unwrap(), program.interface);
    Program::from_bytes(&seal(&sections), 98).unwrap_err();
}

#[test]
fn every_flipped_byte_and_every_truncation_is_an_error() {
    let bytes = program().to_bytes();
    for position in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[position] ^= 0x10;
        assert!(Program::from_bytes(&damaged, 98).is_err(), "byte {position}");
    }
    for length in 0..bytes.len() {
        assert!(Program::from_bytes(&bytes[..length], 98).is_err(), "length {length}");
        assert!(Interface::from_bytes(&bytes[..length], 98).is_err(), "length {length}");
    }
    assert!(Program::from_bytes(&[&bytes[..], b"x"].concat(), 98).is_err());
}

#[test]
fn other_versions_and_tables_of_sections_are_errors() {
    let sections = parts().sections();
    let mut old = seal(&sections);
    old[4] = 2;
    refused(
        Program::from_bytes(&old, 98),
        "format version 2, this fhec reads version 4; compile the model again",
    );
    let order = |order: &[usize]| -> Vec<u8> {
        seal(&order.iter().map(|&index| sections[index].clone()).collect::<Vec<_>>())
    };
    for wrong in [&[1, 0, 2, 3][..], &[0, 0, 1, 3], &[]] {
        assert!(matches!(Program::from_bytes(&order(wrong), 98), Err(ProgramError::Sections)), "{wrong:?}");
    }
    let mut unknown = sections.clone();
    unknown[3].0 = 5;
    assert!(matches!(Program::from_bytes(&seal(&unknown), 98), Err(ProgramError::Sections)));
    refused(Program::from_bytes(&order(&[1, 2, 3]), 98), "lacks its interface");
    refused(Program::from_bytes(&order(&[0, 1, 2]), 98), "no plan");
    assert!(Program::from_bytes(&order(&[0, 1, 3]), 98).unwrap().reference.is_none());
}

#[test]
fn parts_that_do_not_belong_together_are_errors() {
    changed(|_| ()).unwrap();
    let mut sections = parts().sections();
    let mut other = parts();
    other.schedule.text = other.schedule.text.replace("baby_step=8", "baby_step=4");
    sections[1] = other.sections()[1].clone();
    refused(Program::from_bytes(&seal(&sections), 98), "that of another program");
    refused(changed(|p| p.interface.input.as_mut().unwrap().ty[2] = 2), "input is not that of its interface");
    refused(changed(|p| p.interface.outputs[0].ty[4] = 2), "output is not that of its interface");
    refused(
        changed(|p| {
            p.reference.text = "func nn net {\n input %0 : f32[1, 64]\n return %0\n}".into();
            p.reference.tensors.clear();
        }),
        "output of its plain network",
    );
    refused(changed(|p| p.plan = p.plan.replace("\"index\": 1", "\"index\": 7")), "the row of op 1");
    refused(changed(|p| p.schedule.tensors.clear()), "is not at hand");
    refused(changed(|p| p.interface.params.as_mut().unwrap().q.truncate(3)), "parameters are invalid");
}

#[test]
fn ports_that_describe_no_bundle_are_errors() {
    type Change = fn(&mut PortMessage);
    let changes: [(Change, &str); 16] = [
        (|port| port.layout.clear(), "description of an input or output"),
        (|port| port.layout[8] = 128, "vectors of 128 slots"),
        (|port| port.layout[3] = 0, "gap"),
        // Each element in a vector of its own: a reader would look for vectors that are not there.
        (|port| port.layout[7] = 1, "1 of 4096"),
        (|port| port.layout[0] -= 1, "elements"),
        (|port| (port.layout[5], port.layout[6]) = (1 << 10, 1 << 6), "vectors"),
        (|port| port.ty[2] = 60_000, "beyond the parameters"),
        (|port| port.ty[4] = 3, "scale"),
        (|port| port.factor = f64::NAN, "factor"),
        // Images are divided by it.
        (|port| port.factor = 0.0, "factor"),
        (|port| port.spare = f64::INFINITY, "where no element is"),
        // Nothing is above a threshold that is no number.
        (|port| port.log2_error = f64::NAN, "an error of 2^NaN"),
        (|port| port.ending = 4, "ending of an output"),
        (|port| port.ending_then = vec![1.0], "ending of an output"),
        // The largest class would be the smallest, or none.
        (|port| (port.ending, port.ending_then) = (1, vec![-1.0, 0.0]), "softmax is scaled by -1"),
        (|port| (port.ending, port.ending_then) = (2, vec![1.0, f64::NAN]), "plus NaN"),
    ];
    for (change, part) in changes {
        refused(changed(|p| change(p.interface.input.as_mut().unwrap())), part);
        refused(changed(|p| change(&mut p.interface.outputs[0])), part);
    }
    refused(changed(|p| p.interface.outputs.clear()), "0 outputs");
    refused(
        changed(|p| {
            let output = p.interface.outputs[0].clone();
            p.interface.outputs.push(output);
        }),
        "output is not that of its interface",
    );
    refused(changed(|p| p.interface.images = 0), "no image");
    refused(changed(|p| p.interface.images = 7), "7 images do not fit");
    refused(changed(|p| p.interface.preprocess = "{\"scale\": 0.0}".into()), "normalisation cannot be read");
}

#[test]
fn codes_of_probabilities_are_made_by_clients() {
    let plain = program().interface;
    let codes = changed(|p| {
        (p.interface.outputs[0].ending, p.interface.outputs[0].ending_then) = (1, vec![256.0, -128.0]);
    });
    let codes = codes.unwrap().interface;
    assert_eq!(Interface::from_bytes(&codes.to_bytes(), 98).unwrap(), codes);
    let slots = vec![(0..4096).map(|x| f64::from(x % 7) / 4.0).collect()];
    let answer = |interface: &Interface| interface.unpack(interface.output(), &slots).unwrap();
    let exponentials: Vec<f64> = answer(&plain).iter().map(|x| x.exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    for (code, exponential) in answer(&codes).iter().zip(&exponentials) {
        assert!((code - (256.0 * exponential / sum - 128.0)).abs() < 1e-9, "{code}");
    }
    // Numbers as large are as much less certain; an error of a logit is halved in a probability.
    let ratio = codes.certain_step() / plain.certain_step();
    assert!((50.0..=250.0).contains(&ratio), "{ratio}");
}

#[test]
fn permutations_of_ports_are_undone_by_clients_and_checked() {
    let set = |permutation: &[u64]| {
        let permutation = permutation.to_vec();
        changed(|p| {
            p.interface.input.as_mut().unwrap().permutation = permutation.clone();
            p.interface.outputs[0].permutation = vec![2, 5, 1, 0];
        })
    };
    let interface = set(&[4, 16, 1, 0]).unwrap().interface;
    let image: Vec<f32> = (0..64).map(|x| x as f32 / 64.0).collect();
    let mut slots = interface.pack(&image).unwrap();
    slots[0].iter_mut().for_each(|x| *x *= 64.0);
    // Element (a, b) of 4 x 16 is where element (b, a) of 16 x 4 is.
    assert_eq!(slots[0][..6], [0.0, 16.0, 32.0, 48.0, 1.0, 17.0]);
    // Ten numbers are stored, as 5 x 2, and are 2 x 5.
    let answer = interface.unpack(interface.output(), &[slots[0].clone()]).unwrap();
    let expected = [0.0, 32.0, 1.0, 33.0, 2.0, 16.0, 48.0, 17.0, 49.0, 18.0].map(|x| x * 2.5);
    assert_eq!(answer, expected);
    let bytes = interface.to_bytes();
    assert_eq!(Interface::from_bytes(&bytes, 98).unwrap(), interface);
    for (wrong, part) in [
        (&[4, 16, 1, 1][..], "no order of the 2 dimensions"),
        (&[4, 16, 0, 2], "no order of the 2 dimensions"),
        (&[4, 16, 0, u64::MAX], "no order of the 2 dimensions"),
        (&[64, 0, 7], "no order of the 1 dimensions"),
        (&[4, 4, 1, 0], "not one of 64 elements"),
        (&[u64::MAX, 64, 1, 0], "not one of 64 elements"),
    ] {
        refused(set(wrong), part);
    }
}

#[test]
fn permutations_follow_from_the_schedule() {
    let with = |meta: &str| {
        let program = program();
        let text = print_func(&program.schedule).replacen('{', &format!("{{\n meta {meta}\n"), 1);
        let consts = ConstSource::new(program.schedule.consts.iter().map(|(_, tensor)| tensor.clone()));
        let schedule = parse_func(&text, &consts).unwrap();
        let Program { interface, reference, plan, .. } = program;
        Program::new(schedule, interface.params, reference.unwrap(), plan, interface.preprocess)
    };
    let read = |meta: &str| with(meta).unwrap().interface.input.permutation;
    assert_eq!(
        read("input_permutations = [{shape=[4, 16], axes=[1, 0]}]"),
        Some(Permutation { shape: vec![4, 16], axes: vec![1, 0] })
    );
    assert_eq!(read("input_permutations = [{shape=[64], axes=[0]}]"), None);
    assert_eq!(read("output_permutations = [{shape=[2, 5], axes=[1, 0]}]"), None);
    for (list, part) in [
        ("[]", "0 of them"),
        ("[{shape=[4, 16], axes=[0, 0]}]", "no order of the 2 dimensions"),
        ("[{shape=[4, 4], axes=[1, 0]}]", "not one of 64 elements"),
    ] {
        refused(with(&format!("input_permutations = {list}")), part);
    }
}

#[test]
fn keys_beyond_the_parameters_are_errors() {
    refused(changed(|p| p.interface.keys.as_mut().unwrap().relinearization = 9), "one is for level 8");
    refused(changed(|p| p.interface.keys.as_mut().unwrap().steps[0] = 0), "rotates by 0");
    refused(
        changed(|p| *p.interface.keys.as_mut().unwrap().steps.last_mut().unwrap() = 4096),
        "rotates by 4096",
    );
    refused(changed(|p| p.interface.keys.as_mut().unwrap().levels.clear()), "level of a rotation");
    refused(changed(|p| p.interface.keys.as_mut().unwrap().encapsulation = vec![32, 3]), "ephemeral secret");
    // The level of such keys beyond what there is, then their special primes.
    for wrong in
        [vec![32, 60_000, 1, 0], vec![32, 3, 2, 0], vec![32, 3, 0, 0], vec![32, 3, 1, 4096], vec![32, 3, 1]]
    {
        refused(changed(|p| p.interface.keys.as_mut().unwrap().encapsulation = wrong), "make no sense");
    }
}

#[test]
fn security_is_computed_and_the_reader_sets_the_least() {
    let bytes = program().to_bytes();
    let read = Program::from_bytes(&bytes, 98).unwrap();
    assert_eq!((read.certificate().unwrap().bits(), read.plan.security_bits), (98, 98));
    let error = Program::from_bytes(&bytes, 128).unwrap_err();
    assert!(matches!(error, ProgramError::Security(SecurityError::BelowFloor { bits: 98, .. })), "{error}");
    let weak = changed(|p| p.interface.params.as_mut().unwrap().hamming_weight = 1).unwrap_err();
    assert!(matches!(weak, ProgramError::Security(SecurityError::UnknownSecret { .. })), "{weak}");
    let boasts = changed(|p| p.plan = p.plan.replace("\"security_bits\": 98", "\"security_bits\": 256"));
    assert_eq!(boasts.unwrap().plan.security_bits, 98);
}

/// Sections of a small program with a bootstrap, each with its kind and its length in three bytes
/// before it. A seed that is refused would leave the fuzzer nothing to vary.
#[test]
fn the_seed_of_the_fuzz_target_is_a_program_with_a_bootstrap() {
    let mut seed = &include_bytes!("../../../fuzz/seeds/artifact/bootstrap_sections")[..];
    let mut sections = Vec::new();
    while let Some((&[kind, low, middle, high], rest)) = seed.split_first_chunk::<4>() {
        let length = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
        let (section, rest) = rest.split_at(length);
        sections.push((u32::from(kind), section.to_vec()));
        seed = rest;
    }
    let program = Program::from_bytes(&seal(&sections), 128).unwrap();
    assert_eq!(BootstrapParams::of_program(&program.schedule).unwrap().len(), 1);
    assert_eq!(program.certificate().unwrap().ephemeral.unwrap().bits, 128);

    // A weak ephemeral secret: named in both sections, and in one of them.
    let doctored = |weight: u64, of_interface: u64| {
        let mut sections = sections.clone();
        let mut schedule = FuncMessage::decode(&sections[1].1[..]).unwrap();
        schedule.text = schedule.text.replace("ephemeral_weight=32", &format!("ephemeral_weight={weight}"));
        let mut interface = InterfaceMessage::decode(&sections[0].1[..]).unwrap();
        interface.program = ProgramId::of_text(&schedule.text).0.to_vec();
        interface.keys.as_mut().unwrap().encapsulation[0] = of_interface;
        (sections[0].1, sections[1].1) = (interface.encode_to_vec(), schedule.encode_to_vec());
        Program::from_bytes(&seal(&sections), 98)
    };
    doctored(32, 32).unwrap();
    for weight in [0, 1, 31] {
        refused(doctored(weight, weight), "no security estimate for Hamming weight");
        refused(doctored(weight, 32), "not those of its interface");
    }
}

#[test]
fn declarations_without_bounds_are_errors() {
    // Elements that nobody sent.
    let random = |p: &mut Parts| {
        p.schedule.text = p.schedule.text.replacen('{', "{\n const @0 : f32[16777216] = random(1)", 1);
    };
    refused(changed(random), "hand-written text only");
    refused(changed(|p| p.schedule.text += &" ".repeat(17 << 20)), "ckks has");
    refused(changed(|p| p.reference.text += &" ".repeat(17 << 20)), "nn has");
    refused(changed(|p| p.plan += &" ".repeat(63 << 20)), "plan has");
    let unused = |p: &mut Parts| {
        p.schedule.text = p.schedule.text.replace("return", "%3 = rotate(%2) {steps=1}\n return");
        p.plan = Plan::bare(3).to_json().unwrap();
    };
    refused(changed(unused), "nothing uses %3");
    for log_scale in [3_000_000, u32::MAX] {
        let scale = |p: &mut Parts| p.interface.params.as_mut().unwrap().log_scale = log_scale;
        refused(changed(scale), "canonical scale of level 3");
    }
    let shape =
        |p: &mut Parts| p.schedule.tensors[0] = TensorMessage { shape: vec![u64::MAX, 2], data: vec![0; 8] };
    refused(changed(shape), "tensor");
    // Brackets, 256 MiB of them in a file of a few kilobytes.
    refused(changed(|p| p.schedule.text = "[".repeat(256 << 20)), "decompresses to more than");
}

/// What is refused after decryption follows from the error of the output, not from that of what the
/// plan judges the program by.
#[test]
fn outputs_have_the_errors_of_their_ops() {
    let program = program();
    assert_ne!(program.plan.predicted_log2_error, -12.5);
    assert_eq!(program.interface.output().log2_error, -12.5);
}
