//! The only modules with unsafe code. Each block says why it is sound.
#![allow(unsafe_code)]

#[cfg(feature = "python")]
pub mod buffers;
pub mod sha;
