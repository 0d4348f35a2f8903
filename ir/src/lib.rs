//! fhec
pub mod params;
pub mod prime;
pub mod scale;
