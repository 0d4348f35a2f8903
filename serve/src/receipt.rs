//! What an answer was computed of: digests of program, keys, image and answer.
//!
//! A receipt is not signed. It lets a client find that a file was exchanged on the way, and it lets
//! anybody who has program, keys and image compute the answer again: evaluation is deterministic,
//! so the digest must be the same.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::digest::Digest;

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
}
