//! What can be wrong with a modulus or a transform.

use thiserror::Error;

/// Why a [`Modulus`](super::Modulus) or an [`NttTable`](super::NttTable) cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KernelError {
    /// The modulus does not fit the lazy ranges of the kernels.
    #[error("modulus {modulus} is outside 3..2^61; choose a smaller prime")]
    ModulusRange {
        /// The refused value.
        modulus: u64,
    },
    /// The modulus is composite.
    #[error("modulus {modulus} is not prime; every limb of a modulus chain must be a prime")]
    NotPrime {
        /// The refused value.
        modulus: u64,
    },
    /// The ring degree has no kernel.
    #[error("ring degree 2^{log_n} is outside 2^10..2^17")]
    RingDegree {
        /// log2 of the refused degree.
        log_n: u32,
    },
    /// The modulus has no primitive 2N-th root of unity.
    #[error("modulus {modulus} is not 1 modulo 2^{}: no negacyclic NTT of degree 2^{log_n}", log_n + 1)]
    NoRootOfUnity {
        /// The modulus.
        modulus: u64,
        /// log2 of the ring degree asked for.
        log_n: u32,
    },
}
