//! BLAKE3, by which a service names key files, images and answers, and checks chunks.

use wasm_bindgen::prelude::wasm_bindgen;

/// The digest of bytes that come one after the other.
#[wasm_bindgen]
#[derive(Debug, Default)]
pub struct Hasher(blake3::Hasher);

#[wasm_bindgen]
impl Hasher {
    /// Of no bytes yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Hasher::default()
    }

    /// Takes more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all bytes so far: 64 hexadecimal digits.
    pub fn digest(&self) -> String {
        self.0.finalize().to_hex().to_string()
    }
}

/// The digest of `bytes`: 64 hexadecimal digits.
#[wasm_bindgen]
pub fn blake3(bytes: &[u8]) -> String {
    ::blake3::hash(bytes).to_hex().to_string()
}
