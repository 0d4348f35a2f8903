//! Packed residues, four at a time; see [`crate::kernels::packing`].

use std::arch::x86_64::*;

use super::vector::{LANES, V, store};
use crate::kernels::packing::{PACKED_BLOCK, PACKED_SLACK};

/// What a vector of residues is unpacked with: the eight bytes from where each starts, shifted to
/// its first bit. Four residues start at the beginning of a byte or in its middle.
#[derive(Clone, Copy)]
pub(super) struct Unpack {
    bits: usize,
    /// By whether they start in the middle.
    ways: [Way; 2],
    mask: __m256i,
}

#[derive(Clone, Copy)]
struct Way {
    /// Bytes from the first residue's first to the third's.
    third: usize,
    /// The bytes of two residues each, counted from the first's and from the third's.
    bytes: __m256i,
    shifts: __m256i,
}

impl Unpack {
    /// For residues of `bits` bits, up to 56.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) fn new(bits: u32) -> Self {
        let bits = bits as usize;
        let way = |start: usize| {
            let third = (start + 2 * bits) / 8;
            let (mut bytes, mut shifts) = ([0u8; 32], [0u64; 4]);
            for lane in 0..4 {
                let at = start + lane * bits;
                shifts[lane] = at as u64 % 8;
                let first = at / 8 - if lane < 2 { 0 } else { third };
                (0..8).for_each(|byte| bytes[8 * lane + byte] = (first + byte) as u8);
            }
            // SAFETY: both arrays have 32 bytes.
            unsafe {
                let (bytes, shifts) =
                    (_mm256_loadu_si256(bytes.as_ptr().cast()), _mm256_loadu_si256(shifts.as_ptr().cast()));
                Way { third, bytes, shifts }
            }
        };
        let mask = u64::MAX >> (64 - bits);
        Unpack { bits, ways: [way(0), way(4)], mask: _mm256_set1_epi64x(mask as i64) }
    }

    /// Residues `index..index + 4`, `index` a multiple of four, of the packed block at `block`.
    ///
    /// # Safety
    ///
    /// The block, of 64 residues, and [`PACKED_SLACK`] words after it must be valid for reading.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn load(&self, block: *const u64, index: usize) -> V {
        const { assert!(PACKED_SLACK * size_of::<u64>() >= 16) };
        let at = index * self.bits;
        let way = &self.ways[at / 4 % 2];
        // SAFETY: the caller's promise: both loads start inside the block and read sixteen bytes.
        let x = unsafe {
            let p = block.cast::<u8>().add(at / 8);
            _mm256_loadu2_m128i(p.add(way.third).cast(), p.cast())
        };
        let x = _mm256_srlv_epi64(_mm256_shuffle_epi8(x, way.bytes), way.shifts);
        _mm256_castsi256_pd(_mm256_and_si256(x, self.mask))
    }
}

/// # Safety
///
/// AVX2; `bits` up to 56; the packed `words` hold residues `first..first + out.len()`, multiples of
/// eight, and the slack after them.
#[target_feature(enable = "avx2")]
pub(in crate::kernels) unsafe fn unpack_into(out: &mut [u64], words: &[u64], bits: u32, first: usize) {
    let unpack = Unpack::new(bits);
    let to = out.as_mut_ptr();
    for i in (0..out.len()).step_by(LANES) {
        let (block, index) = ((first + i) / PACKED_BLOCK, (first + i) % PACKED_BLOCK);
        // SAFETY: the caller's promise.
        unsafe { store(to.add(i), unpack.load(words.as_ptr().add(block * bits as usize), index)) };
    }
}
