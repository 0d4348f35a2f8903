//! Any bytes as a compiled program: as the file itself, and, since checksums stop nearly all of
//! those, as the sections of a file whose checksums are right, and as the text of a function. What
//! is read is what a client and a server make of it: inputs are packed as before encryption, and
//! bundles of the output's type unpacked as after decryption.

#![no_main]

use fhec_ir::ckks::Ckks;
use fhec_ir::nn::Nn;
use fhec_ir::packed::Packed;
use fhec_ir::program::file::FORMAT_VERSION;
use fhec_ir::program::{Interface, Port, Program};
use fhec_ir::text::{ConstSource, parse_func};
use libfuzzer_sys::fuzz_target;

/// The lowest level that the security table has.
const LEAST_SECURITY: u32 = 98;
/// Larger bundles are left out, so that memory is not what is tested.
const MAX_SLOTS: usize = 1 << 22;

fuzz_target!(|bytes: &[u8]| {
    let sealed = file(bytes);
    for file in [bytes, &sealed] {
        if let Ok(interface) = Interface::from_bytes(file, LEAST_SECURITY) {
            move_elements(&interface);
            assert_eq!(Interface::from_bytes(&interface.to_bytes(), LEAST_SECURITY).expect("it was written"), interface);
        }
        let _ = Program::from_bytes(file, LEAST_SECURITY);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = parse_func::<Nn>(text, &ConstSource::default());
        let _ = parse_func::<Packed>(text, &ConstSource::default());
        let _ = parse_func::<Ckks>(text, &ConstSource::default());
    }
});

/// Elements into vectors of the bundles' types and back.
fn move_elements(interface: &Interface) {
    for Port { ty, layout, .. } in std::iter::once(&interface.input).chain(&interface.outputs) {
        let batch = interface.batch;
        let each = batch.elements_per_image(layout).expect("layouts were checked");
        let all = each.saturating_mul(batch.images);
        if ty.vectors * ty.slots > MAX_SLOTS || all > MAX_SLOTS {
            continue;
        }
        let elements: Vec<f64> = (0..all).map(|i| i as f64).collect();
        let vectors = batch.pack(layout, &elements).expect("a whole batch");
        assert_eq!((vectors.len(), vectors[0].len()), (ty.vectors, ty.slots));
        assert_eq!(batch.unpack(layout, &vectors).expect("layouts were checked"), elements);
        assert_eq!(batch.repacked(layout, &vectors, 0.0).expect("layouts were checked"), vectors);
    }
}

/// A file whose sections are `bytes`: each begins with its kind and its length, of three bytes; see
/// `fhec_ir::program::file`.
fn file(mut bytes: &[u8]) -> Vec<u8> {
    let mut sections = Vec::new();
    while let Some((&[kind, low, middle, high], rest)) = bytes.split_first_chunk::<4>() {
        let length = usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16;
        let (section, rest) = rest.split_at(length.min(rest.len()));
        let section = zstd::bulk::compress(section, 1).expect("compressing into memory cannot fail");
        sections.push((u32::from(kind), section));
        bytes = rest;
    }
    let mut file = b"FHEP".to_vec();
    file.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    file.extend_from_slice(&(sections.len() as u32).to_le_bytes());
    for (kind, section) in &sections {
        file.extend_from_slice(&kind.to_le_bytes());
        file.extend_from_slice(&(section.len() as u64).to_le_bytes());
        file.extend_from_slice(blake3::hash(section).as_bytes());
    }
    let digest = blake3::hash(&file);
    file.extend_from_slice(digest.as_bytes());
    sections.iter().for_each(|(_, section)| file.extend_from_slice(section));
    file
}
