//! What goes over the wire as JSON, and the codes of errors.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::digest::Digest;

/// Header with the BLAKE3 digest of a chunk.
pub const UPLOAD_DIGEST: &str = "upload-digest";
/// Header with the offset of a chunk in the key file.
pub const UPLOAD_OFFSET: &str = "upload-offset";
/// Header that makes it safe to send a job again.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// A model, as the caller sees it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Model {
    /// Name in paths.
    pub name: String,
    /// The program that it is.
    #[schema(value_type = String)]
    pub program: Digest,
    /// Bits of security of the program's parameters.
    pub security_bits: u32,
    /// Size of the interface file.
    pub interface_bytes: u64,
    /// No key file of this program is larger.
    pub key_file_max_bytes: u64,
    /// Memory that the keys of one client take while they are hot.
    pub key_memory_bytes: u64,
    /// No encrypted image is larger.
    pub input_max_bytes: u64,
    /// No answer is larger.
    pub answer_max_bytes: u64,
    /// The caller's keys for this program that are here and whole.
    #[schema(value_type = Vec<String>)]
    pub keys: Vec<Digest>,
    /// Seconds for one evaluation, as the plan predicts them.
    pub predicted_seconds: f64,
    /// The same as late evaluations took here; what the plan predicts before there was one.
    pub expected_seconds: f64,
    /// Jobs of all callers that wait for a lane.
    pub queued: usize,
    /// Seconds until a lane begins with a job that the caller sends now, as far as is known.
    pub wait_seconds: f64,
}

/// All models.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Models {
    /// Sorted by name.
    pub models: Vec<Model>,
}

/// Announces a key file that is to be uploaded.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnnounceKeys {
    /// The model that the keys are for.
    pub model: String,
    /// BLAKE3 of the whole key file: the name of the keys from now on.
    #[schema(value_type = String, pattern = "^[0-9a-f]{64}$")]
    pub keys: Digest,
    /// Bytes of the key file.
    #[schema(minimum = 1)]
    pub length: u64,
}

/// What there is of a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// Chunks are missing.
    Uploading,
    /// All there and checked.
    Whole,
}

/// A caller's keys.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Keys {
    /// Their name.
    #[schema(value_type = String)]
    pub keys: Digest,
    /// The program that they are for.
    #[schema(value_type = String)]
    pub program: Digest,
    /// What there is of them.
    pub state: KeyState,
    /// Bytes of the file.
    pub length: u64,
    /// Bytes that have arrived: where the next chunk begins.
    pub offset: u64,
    /// Most bytes of a chunk.
    pub chunk_bytes: u64,
    /// Whether they are in memory.
    pub resident: bool,
    /// Seconds until they are deleted if nobody uses or touches them.
    pub expires_in_seconds: u64,
}

/// All keys of the caller.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyList {
    /// Sorted by name.
    pub keys: Vec<Keys>,
}

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Waits for a lane.
    Queued,
    /// Is evaluated.
    Running,
    /// Has an answer.
    Done,
    /// Has none, and will have none.
    Failed,
    /// Was cancelled by its owner.
    Cancelled,
}

impl JobState {
    /// Whether nothing changes any more.
    pub fn is_final(self) -> bool {
        matches!(self, JobState::Done | JobState::Failed | JobState::Cancelled)
    }
}

/// A caller's job.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Job {
    /// 32 hexadecimal digits.
    pub id: String,
    /// The model.
    pub model: String,
    /// How far it is.
    pub state: JobState,
    /// Seconds since 1970 when it was accepted.
    pub submitted: u64,
    /// Seconds since 1970 after which it is not worth an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<u64>,
    /// Ops of the program that have run.
    pub ops_done: usize,
    /// Ops of the program.
    pub ops: usize,
    /// The layer that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// Seconds of evaluation, once there is an answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Why there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// All jobs of the caller.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Jobs {
    /// By the time they were accepted.
    pub jobs: Vec<Job>,
}

/// An error, as RFC 9457 has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A name of the kind of problem: `urn:fhec:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// Status of the response.
    pub status: u16,
    /// What happened and what to do.
    pub detail: String,
    /// The kind, for programs.
    pub code: Code,
    /// When it is worth trying again, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// Where the upload is, for [`Code::WrongOffset`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $status:literal, $text:literal, $title:literal;)+) => {
        /// Kinds of errors. Their names do not change.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// All of them.
            pub const ALL: &'static [Code] = &[$(Code::$name),+];

            /// The name.
            pub fn name(self) -> &'static str {
                match self { $(Code::$name => $text),+ }
            }

            /// Status of a response with it.
            pub fn status(self) -> u16 {
                match self { $(Code::$name => $status),+ }
            }

            fn title(self) -> &'static str {
                match self { $(Code::$name => $title),+ }
            }
        }
    };
}

codes! {
    /// A part of the request cannot be read.
    BadRequest = 400, "bad_request", "The request cannot be read";
    /// No token, or one that is not known.
    Unauthorized = 401, "unauthorized", "A token is needed";
    /// There is no such thing, or it is somebody else's.
    NotFound = 404, "not_found", "There is no such thing here";
    /// The path is known, the method is not.
    MethodNotAllowed = 405, "method_not_allowed", "The path has no such method";
    /// A body did not arrive in time.
    BodyTooSlow = 408, "body_too_slow", "The body came too slowly";
    /// The chunk does not begin where the upload is.
    WrongOffset = 409, "wrong_offset", "The upload is somewhere else";
    /// The same thing is being done by another request.
    Busy = 409, "busy", "Another request does this right now";
    /// The keys are not all here.
    KeysNotWhole = 409, "keys_not_whole", "The keys are not whole";
    /// Keys, ciphertext and program do not belong together.
    KeyMismatch = 409, "key_mismatch", "Keys, image and program do not belong together";
    /// The job has no answer yet, or never will.
    NoAnswer = 409, "no_answer", "There is no answer";
    /// Jobs that are not finished use the keys.
    KeysInUse = 409, "keys_in_use", "Jobs use these keys";
    /// A body is larger than anything that is expected there.
    TooLarge = 413, "too_large", "The body is too large";
    /// The bytes are not those that their digest names.
    WrongDigest = 422, "wrong_digest", "The bytes are not those of the digest";
    /// The keys are damaged, or of another program.
    KeysRefused = 422, "keys_refused", "The keys are refused";
    /// The body is no encrypted image of the model.
    ImageRefused = 422, "image_refused", "The encrypted image is refused";
    /// The idempotency key was used for something else.
    IdempotencyConflict = 422, "idempotency_conflict", "The idempotency key is of another job";
    /// The caller has as many jobs in the queue as it may have.
    TooManyJobs = 429, "too_many_jobs", "The caller has too many jobs";
    /// The caller has used its processor time.
    QuotaUsed = 429, "quota_used", "The caller's processor time is used";
    /// Something went wrong on the server.
    Internal = 500, "internal", "The server has failed";
    /// The evaluation ended with an error.
    EvaluationFailed = 500, "evaluation_failed", "The evaluation has failed";
    /// The queue is full, or too many bodies are on their way.
    Overloaded = 503, "overloaded", "The server has too much to do";
    /// The server is about to end.
    Draining = 503, "draining", "The server is about to end";
    /// The store that keys are kept in, too, cannot be reached.
    StoreAway = 503, "store_away", "The store of keys cannot be reached";
    /// The job's deadline has passed.
    DeadlineExceeded = 504, "deadline_exceeded", "The deadline has passed";
    /// The program of the job is not served any more.
    ModelGone = 410, "model_gone", "The model is not served any more";
    /// The caller's quota of key bytes, or the disk, is full.
    NoRoom = 507, "no_room", "There is no room";
}

impl Problem {
    /// A problem of this kind; `detail` says what happened and what to do.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Problem {
            kind: format!("urn:fhec:problem:{}", code.name()),
            title: code.title().into(),
            status: code.status(),
            detail: detail.into(),
            code,
            retry_after: None,
            offset: None,
        }
    }

    /// The same, worth another try after so many seconds.
    pub fn retry_after(self, seconds: u64) -> Self {
        Problem { retry_after: Some(seconds), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_one_name_each() {
        for &code in Code::ALL {
            assert_eq!(serde_json::to_value(code).unwrap(), code.name());
            assert!((400..600).contains(&code.status()));
        }
    }
}
