//! The native kernel: runs a plan on a step's record batches, the same call as the reference in Python, faster.
//!
//! `wire` reads and builds record batches; `values` knows single values (tests, transforms, pseudonyms); `engine` and what it
//! stands on run a program over the records of a step; `python` is the thin layer that Python sees.

pub mod audited;
#[cfg(feature = "python")]
pub mod python;
pub mod reject;
pub mod values;
pub mod wire;
