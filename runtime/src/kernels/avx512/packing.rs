//! Packed residues, eight at a time; see [`crate::kernels::packing`].

use std::arch::x86_64::*;

use super::vector::{LANES, V, splat, store};

/// How far ahead packed residues are asked for.
const PREFETCHED_BYTES: usize = 2048;

/// What a vector of residues is unpacked with: the eight bytes from where each starts, shifted to
/// its first bit.
#[derive(Clone, Copy)]
pub(super) struct Unpack {
    /// Bytes of eight residues, which are as many as the bits of one.
    pub(super) stride: usize,
    bytes: V,
    shifts: V,
    mask: V,
}

impl Unpack {
    /// For residues of `bits` bits, up to 56, or 64.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn new(bits: u32) -> Self {
        let (mut bytes, mut shifts) = ([0u8; 64], [0u64; 8]);
        for lane in 0..8 {
            let at = lane * bits as usize;
            shifts[lane] = at as u64 % 8;
            for byte in 0..8 {
                // Bytes beyond the last hold nothing of a residue.
                bytes[8 * lane + byte] = (at / 8 + byte).min(63) as u8;
            }
        }
        // SAFETY: both arrays have 64 bytes.
        let (bytes, shifts) = unsafe {
            (_mm512_loadu_si512(bytes.as_ptr().cast()), _mm512_loadu_si512(shifts.as_ptr().cast()))
        };
        Unpack { stride: bits as usize, bytes, shifts, mask: splat(u64::MAX >> (64 - bits)) }
    }

    /// The eight residues whose bytes start at `p`.
    ///
    /// # Safety
    ///
    /// `p` must be valid for reading 64 bytes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vbmi")]
    pub(super) unsafe fn load(&self, p: *const u8) -> V {
        // SAFETY: the caller's promise.
        let x = unsafe { _mm512_loadu_si512(p.cast()) };
        let x = _mm512_permutexvar_epi8(self.bytes, x);
        _mm512_and_si512(_mm512_srlv_epi64(x, self.shifts), self.mask)
    }
}

/// # Safety
///
/// AVX-512 F, BW and VBMI; `bits` up to 56, or 64; the packed `words` hold residues `first..first +
/// out.len()`, multiples of eight, and 64 bytes more.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(in crate::kernels) unsafe fn unpack_into(out: &mut [u64], words: &[u64], bits: u32, first: usize) {
    let unpack = Unpack::new(bits);
    let (from, to) = (words.as_ptr().cast::<u8>(), out.as_mut_ptr());
    for i in 0..out.len() / LANES {
        // SAFETY: the caller's promise: eight residues are as many bytes as one has bits, and a
        // vector of slack lies beyond.
        unsafe {
            let p = from.add((first / LANES + i) * unpack.stride);
            _mm_prefetch::<_MM_HINT_T0>(p.wrapping_add(PREFETCHED_BYTES).cast());
            store(to.add(LANES * i), unpack.load(p));
        }
    }
}
