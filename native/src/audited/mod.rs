//! The only modules with unsafe code. Each block says why it is sound.
#![allow(unsafe_code)]

pub mod sha_lanes;
