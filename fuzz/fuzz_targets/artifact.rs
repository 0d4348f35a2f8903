//! Any bytes as a compiled program: as the file itself, and, since the checksum stops nearly all of those, as the
//! payload of a file whose header is right, and as the text of a function. The keys of bootstraps in it are counted; inputs are
//! packed as a client does before encryption, and bundles of the outputs' types unpacked as after decryption.

#![no_main]

use fhec_ir::artifact::{Artifact, FORMAT_VERSION};
use fhec_ir::ckks::Ckks;
use fhec_ir::entity::Value;
use fhec_ir::evaluation_keys::EvaluationKeys;
use fhec_ir::layout::Layout;
use fhec_ir::nn::Nn;
use fhec_ir::packed::Packed;
use fhec_ir::text::{ConstSource, parse_func};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for artifact in [Artifact::from_bytes(bytes), Artifact::from_bytes(&file(bytes))].into_iter().flatten() {
        let _ = EvaluationKeys::default().with_bootstraps(&artifact.program, &artifact.params);
        let inputs = artifact.input_layouts().expect("layouts were checked");
        move_elements(&artifact, &inputs, artifact.program.inputs());
        let outputs = artifact.output_layouts().expect("layouts were checked");
        move_elements(&artifact, &outputs, artifact.program.outputs());
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = parse_func::<Nn>(text, &ConstSource::default());
        let _ = parse_func::<Packed>(text, &ConstSource::default());
        let _ = parse_func::<Ckks>(text, &ConstSource::default());
    }
});

/// Larger bundles are left out, so that memory is not what is tested.
const MAX_SLOTS: usize = 1 << 22;

/// Elements into vectors of the bundles' types and back.
fn move_elements(artifact: &Artifact, layouts: &[Layout], bundles: &[Value]) {
    assert_eq!(layouts.len(), bundles.len());
    for (layout, &bundle) in layouts.iter().zip(bundles) {
        let ty = artifact.program.ty(bundle);
        let batch = artifact.batch().expect("the batch was checked");
        let each = batch.elements_per_image(layout).expect("layouts were checked");
        let all = each.saturating_mul(batch.images);
        if ty.vectors * ty.slots > MAX_SLOTS || all > MAX_SLOTS {
            continue;
        }
        let elements: Vec<f64> = (0..all).map(|i| i as f64).collect();
        let vectors = batch.pack(layout, &elements).expect("a whole batch");
        assert_eq!((vectors.len(), vectors[0].len()), (ty.vectors, ty.slots));
        assert_eq!(batch.unpack(layout, &vectors).expect("layouts were checked"), elements);
        assert_eq!(batch.repacked(layout, &vectors).expect("layouts were checked"), vectors);
    }
}

/// A file around the message `message`; see `fhec_ir::artifact` for its layout.
fn file(message: &[u8]) -> Vec<u8> {
    let payload = zstd::bulk::compress(message, 1).expect("compressing into memory cannot fail");
    let mut bytes = b"FHEP".to_vec();
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    bytes.extend_from_slice(blake3::hash(&payload).as_bytes());
    bytes.extend_from_slice(&payload);
    bytes
}
