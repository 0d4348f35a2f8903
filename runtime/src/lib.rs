//! fhec
