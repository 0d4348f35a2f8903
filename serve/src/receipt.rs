//! What an answer was computed of: digests of program, keys, image and answer.
//!
//! A receipt lets a client find that a file was exchanged on the way, and it lets anybody who has
//! program, keys and image compute the answer again: evaluation is deterministic, so the digest
//! must be the same. Where the service has a key for it, receipts are signed (Ed25519, RFC 8032):
//! then the service cannot deny what it has answered.
//!
//! Signed are these lines, each with a line feed at its end, the name of the model as it is:
//!
//! ```text
//! fhec receipt 1
//! program DIGEST
//! keys DIGEST
//! image DIGEST
//! answer DIGEST
//! model NAME
//! ```

mod signature;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::digest::Digest;
pub use signature::{KeyError, PublicKey, Signature, SigningKey};

/// The version that is written.
pub const VERSION: u32 = 1;

/// A receipt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Receipt {
    /// Of the format: [`VERSION`].
    pub version: u32,
    /// Name of the model.
    pub model: String,
    /// The program.
    #[schema(value_type = String)]
    pub program: Digest,
    /// The key file.
    #[schema(value_type = String)]
    pub keys: Digest,
    /// The encrypted image, as it was sent.
    #[schema(value_type = String)]
    pub image: Digest,
    /// The encrypted answer.
    #[schema(value_type = String)]
    pub answer: Digest,
    /// The service's word for it, if it has a key for receipts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

/// What a file of a receipt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The program.
    Program,
    /// The key file.
    Keys,
    /// The encrypted image.
    Image,
    /// The encrypted answer.
    Answer,
}

impl Receipt {
    /// Whether `digest` is what the receipt says of `part`.
    pub fn names(&self, part: Part, digest: Digest) -> bool {
        let said = match part {
            Part::Program => self.program,
            Part::Keys => self.keys,
            Part::Image => self.image,
            Part::Answer => self.answer,
        };
        said == digest
    }

    /// What a signature is of: all but the signature, see the [module](self).
    pub(crate) fn signed_bytes(&self) -> Vec<u8> {
        let Receipt { version, model, program, keys, image, answer, signature: _ } = self;
        let text = format!(
            "fhec receipt {version}\nprogram {program}\nkeys {keys}\nimage {image}\nanswer {answer}\nmodel {model}\n"
        );
        text.into_bytes()
    }

    /// The same, signed with `key`.
    pub fn signed(self, key: &SigningKey) -> Self {
        let signature = Some(key.sign(&self.signed_bytes()));
        Receipt { signature, ..self }
    }

    /// Whether the signature is there and is by `key`.
    pub fn is_signed_by(&self, key: &PublicKey) -> bool {
        self.signature.as_ref().is_some_and(|signature| key.verifies(&self.signed_bytes(), signature))
    }
}

#[cfg(test)]
mod tests;
