//! fhec's RNS-CKKS backend, floor by floor; each floor calls only those below it.
//!
//! | module | floor |
//! |---|---|
//! | [`kernels`] | vectors of residues: transforms, products, sums; the only `unsafe` code |

pub mod kernels;
