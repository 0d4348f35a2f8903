//! The holder of a secret key.

use std::sync::Arc;

use fhec_roles::bundle::{answer_from_bytes, most_bundle_bytes, seeded_ciphertexts_to_bytes};
use fhec_roles::{Client as Role, context};
use fhec_runtime::exec::KeyRecords;
use fhec_runtime::ring::Context;
use fhec_runtime::rlwe::SecretKey;
use js_sys::Uint8Array;
use wasm_bindgen::prelude::wasm_bindgen;
use zeroize::Zeroizing;

use crate::WebError;
use crate::answer::Answer;
use crate::interface::Interface;
use crate::picture;

/// The holder of a secret key for one program. `free()` wipes the key.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Client {
    role: Role,
    context: Arc<Context>,
    records: KeyRecords,
}

impl Client {
    fn new(role: Role, context: Arc<Context>) -> Result<Self, WebError> {
        let records = role.key_records()?;
        Ok(Client { role, context, records })
    }
}

fn context_of(interface: &Interface) -> Result<Arc<Context>, WebError> {
    Ok(context(&interface.known).map_err(fhec_roles::RoleError::from)?)
}

#[wasm_bindgen]
impl Client {
    /// A client with a new secret key, from the randomness of Web Crypto.
    pub fn generate(interface: &Interface) -> Result<Client, WebError> {
        let context = context_of(interface)?;
        Client::new(Role::generate(&interface.known, &context)?, context)
    }

    /// A client with the secret key of a file `secret.key`.
    #[wasm_bindgen(js_name = fromSecretKey)]
    pub fn from_secret_key(interface: &Interface, bytes: Vec<u8>) -> Result<Client, WebError> {
        let bytes = Zeroizing::new(bytes);
        let context = context_of(interface)?;
        let secret = SecretKey::from_bytes(&context, &bytes).map_err(WebError::SecretKey)?;
        Client::new(Role::new(&interface.known, &context, secret), context)
    }

    /// The secret key as `secret.key` has it. Whoever has these bytes reads every answer: overwrite
    /// them when they are not needed any more.
    #[wasm_bindgen(js_name = secretKey)]
    pub fn secret_key(&self) -> Uint8Array {
        // Not as a vector: what wasm-bindgen copies from, it frees without wiping it.
        Uint8Array::from(&self.role.secret().to_bytes(&self.context)[..])
    }

    /// Public name of the secret key: 32 hexadecimal digits.
    #[wasm_bindgen(getter, js_name = keyId)]
    pub fn key_id(&self) -> String {
        self.role.secret().id().0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Records of the file of evaluation keys.
    #[wasm_bindgen(getter, js_name = keyRecords)]
    pub fn key_records(&self) -> usize {
        self.records.count()
    }

    /// Makes record number `index` of the file of evaluation keys. All records in their order are
    /// the file; they may be made in any order, by several clients with this secret key.
    #[wasm_bindgen(js_name = keyRecord)]
    pub fn key_record(&self, index: usize) -> Result<Vec<u8>, WebError> {
        let count = self.records.count();
        self.role.key_record(&self.records, index)?.ok_or(WebError::NoRecord { index, count })
    }

    /// Encrypts a picture of the size that the program takes. Pixels are in rows, of one byte
    /// (gray), three (red, green, blue) or four (opacity is dropped).
    pub fn encrypt(&self, pixels: &[u8], width: usize, height: usize) -> Result<Vec<u8>, WebError> {
        self.encrypt_numbers(&picture::input(self.role.interface(), pixels, width, height)?)
    }

    /// Encrypts the input of the network as it is: normalised, in the order of its tensor.
    #[wasm_bindgen(js_name = encryptNumbers)]
    pub fn encrypt_numbers(&self, numbers: &[f32]) -> Result<Vec<u8>, WebError> {
        let bundle = self.role.encrypt_seeded(numbers)?;
        Ok(seeded_ciphertexts_to_bytes(&self.context, &bundle))
    }

    /// Most bytes that an answer has.
    #[wasm_bindgen(getter, js_name = answerMaxBytes)]
    pub fn answer_max_bytes(&self) -> f64 {
        most_bundle_bytes(&self.context, &self.role.interface().answer_types()) as f64
    }

    /// Decrypts an answer. Errors are as secret as what is in it.
    pub fn decrypt(&self, answer: &[u8]) -> Result<Answer, WebError> {
        let interface = self.role.interface();
        let bundle = answer_from_bytes(answer, &self.context, &interface.answer_types())?;
        Ok(Answer::new(interface, &self.role.decrypt(&bundle)?))
    }
}
