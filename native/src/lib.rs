//! The native kernel: runs a plan on a step's record batches, the same call as the reference in Python, faster.
//!
//! `wire` reads and builds record batches; `values` knows single values (tests, transforms, pseudonyms); `engine` and what it
//! stands on run a program over the records of a step; `python` is the thin layer that Python sees.

pub mod audited;
pub mod engine;
mod form;
mod limits;
pub mod program;
#[cfg(feature = "python")]
pub mod python;
pub mod reject;
mod rule;
pub mod values;
mod walk;
pub mod wire;
