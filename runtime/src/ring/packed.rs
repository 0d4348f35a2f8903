//! Residues over many primes, in as many bits as each prime has: what streams from memory.

use super::basis::Basis;
use super::context::Context;
use crate::kernels::{self, Buffer, PACKED_BLOCK, PACKED_SLACK};

/// As many residues for every prime of a basis, `[limb]`, each limb packed
/// ([`kernels::pack_into`]).
#[derive(Clone)]
pub(crate) struct PackedLimbs {
    buffer: Buffer,
    /// Where each limb starts, and the bits of its residues.
    limbs: Vec<(usize, u32)>,
    /// Residues of a limb.
    residues: usize,
}

impl PackedLimbs {
    /// `residues` zeros for every prime of `basis`; whole blocks.
    pub(crate) fn zeroed(context: &Context, basis: Basis, residues: usize) -> Self {
        assert!(residues.is_multiple_of(PACKED_BLOCK), "whole blocks");
        let mut start = 0;
        let limb = |limb| {
            let bits = kernels::packed_bits(context.modulus(context.prime(basis, limb)).bits());
            let at = start;
            start += residues / PACKED_BLOCK * bits as usize;
            (at, bits)
        };
        let limbs = (0..basis.limbs()).map(limb).collect();
        PackedLimbs { buffer: Buffer::zeroed(start + PACKED_SLACK), limbs, residues }
    }

    /// Bytes of residues.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<u64>() * (self.buffer.len() - PACKED_SLACK)
    }

    /// The words of limb `limb`, with [`PACKED_SLACK`] more, and the bits of its residues.
    #[inline]
    pub(crate) fn limb(&self, limb: usize) -> (&[u64], u32) {
        let (start, bits) = self.limbs[limb];
        (&self.buffer[start..][..self.residues / PACKED_BLOCK * bits as usize + PACKED_SLACK], bits)
    }

    /// Every limb with its number and the bits of its residues, to be written.
    pub(crate) fn limbs_mut(&mut self) -> Vec<(usize, u32, &mut [u64])> {
        let blocks = self.residues / PACKED_BLOCK;
        let mut rest = &mut self.buffer[..];
        let limbs = self.limbs.iter().enumerate();
        limbs
            .filter_map(|(limb, &(_, bits))| {
                Some((limb, bits, rest.split_off_mut(..blocks * bits as usize)?))
            })
            .collect()
    }
}
