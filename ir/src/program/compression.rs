//! Sections of files are compressed with zstd: with its own library, and for WebAssembly, where
//! that needs a C compiler, with one in Rust. Both read what the other wrote.

use std::io::{self, Read};

#[cfg(not(target_arch = "wasm32"))]
const LEVEL: i32 = 9;

#[cfg(not(target_arch = "wasm32"))]
pub(super) fn compress(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, LEVEL).expect("compressing into memory cannot fail")
}

#[cfg(target_arch = "wasm32")]
pub(super) fn compress(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// Reads what is compressed in `content`.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn decoder(content: &[u8]) -> io::Result<impl Read> {
    zstd::stream::read::Decoder::new(content)
}

/// Reads what is compressed in `content`: one frame, as [`compress`] writes it.
#[cfg(target_arch = "wasm32")]
pub(super) fn decoder(content: &[u8]) -> io::Result<impl Read> {
    ruzstd::decoding::StreamingDecoder::new(content).map_err(io::Error::other)
}
