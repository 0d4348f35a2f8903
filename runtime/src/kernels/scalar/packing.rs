//! See [`crate::kernels::packing`].

use crate::kernels::packing::{PACKED_BLOCK, packed};

pub(in crate::kernels) fn unpack_into(out: &mut [u64], words: &[u64], bits: u32, first: usize) {
    for (index, residue) in (first..).zip(out) {
        let block = &words[index / PACKED_BLOCK * bits as usize..];
        *residue = packed(block, index % PACKED_BLOCK, bits);
    }
}
