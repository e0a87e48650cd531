//! `Program`: what a plan was lowered into, and the one call of the kernel.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use zeroize::Zeroizing;

use crate::audited::buffers::{BatchBuffer, Lent};
use crate::engine::{self, Chunk, Input, Kept, Outcome, STAGES};
use crate::program::Program as Compiled;

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Program>()
}

/// A program, compiled. Keys live in it and are wiped with it.
#[pyclass(frozen, module = "hub.exchange._native")]
struct Program(Compiled);

/// Delivered, filtered, suppressed, quarantined, source bytes, delivered bytes.
type Tally = (i64, i64, i64, i64, i64, i64);
/// First and next offset, code, agreement, and which of what is kept.
type Row = (i64, i64, &'static str, Option<u32>, usize);
/// Key, value, hash and length of a long value.
type KeptBytes<'py> = (Option<Bound<'py, PyBytes>>, Option<Bound<'py, PyBytes>>, Option<Bound<'py, PyBytes>>, Option<usize>);

/// What a step came to, as `hub.exchange.native.run` makes a verdict of it.
#[derive(IntoPyObject)]
struct Decided<'py>(i64, Option<i64>, Vec<Tally>, Vec<Vec<(BatchBuffer, i32)>>, Vec<Row>, Vec<KeptBytes<'py>>, Vec<u32>);

/// Chunks that Python lends, with the offset that each was asked for.
type Lending<'py> = Vec<(Bound<'py, PyAny>, i64)>;

#[pymethods]
impl Program {
    /// Compiles a program of `hub.exchange.native.lowering`; ValueError where it is none, without a word of what stands in it.
    #[new]
    fn new(spec: &str, keys: Vec<Bound<'_, PyBytes>>) -> PyResult<Program> {
        let mut own = Zeroizing::new(Vec::with_capacity(keys.len()));
        for key in &keys {
            own.push(<[u8; 32]>::try_from(key.as_bytes()).map_err(|_| PyValueError::new_err("a key is no 32 bytes"))?);
        }
        Compiled::compile(spec, &own).map(Program).map_err(|fault| PyValueError::new_err(fault.to_string()))
    }

    /// Decides a step, without the interpreter.
    fn run<'py>(&self, py: Python<'py>, chunks: Lending<'py>, position: i64, now_ms: i64, denied: Vec<bool>) -> PyResult<Decided<'py>> {
        let outcome = self.call(py, &chunks, position, now_ms, &denied, engine::run)?;
        Ok(decided(py, outcome))
    }

    /// Decides a step and returns nanoseconds by stage.
    fn profile<'py>(
        &self,
        py: Python<'py>,
        chunks: Lending<'py>,
        position: i64,
        now_ms: i64,
        denied: Vec<bool>,
    ) -> PyResult<Vec<(String, u64)>> {
        let (_, nanoseconds) = self.call(py, &chunks, position, now_ms, &denied, engine::profile)?;
        Ok(STAGES.iter().zip(nanoseconds).map(|(stage, spent)| (format!("{stage:?}").to_lowercase(), spent)).collect())
    }
}

impl Program {
    fn call<T: Send>(
        &self,
        py: Python<'_>,
        chunks: &Lending<'_>,
        position: i64,
        now_ms: i64,
        denied: &[bool],
        run: fn(&Compiled, &Input) -> T,
    ) -> PyResult<T> {
        if denied.len() != self.0.agreements.len() {
            return Err(PyValueError::new_err("one right or none for each agreement of the program"));
        }
        let lent = chunks.iter().map(|(chunk, _)| Lent::of(chunk)).collect::<PyResult<Vec<_>>>()?;
        let chunks: Vec<Chunk> =
            lent.iter().zip(chunks).map(|(lent, (_, first_offset))| Chunk { data: lent.bytes(), first_offset: *first_offset }).collect();
        let program = &self.0;
        let found = py.detach(|| {
            // A panic is an error of the kernel: it must not take the worker's other lanes with it, and names no value.
            catch_unwind(AssertUnwindSafe(|| run(program, &Input { chunks: &chunks, position, now_ms, denied })))
        });
        found.map_err(|_| PyRuntimeError::new_err("the native kernel failed: this is an error in it"))
    }
}

fn decided(py: Python<'_>, outcome: Outcome) -> Decided<'_> {
    let tallies = outcome
        .tallies
        .iter()
        .map(|tally| (tally.delivered, tally.filtered, tally.suppressed, tally.quarantined, tally.bytes_source, tally.bytes_delivered));
    let batches =
        outcome.batches.into_iter().map(|of_one| of_one.into_iter().map(|built| (BatchBuffer::new(built.buffer), built.records)).collect());
    let rows = outcome.quarantined.iter().map(|row| (row.first_offset, row.next_offset, row.code.code(), row.agreement, row.kept));
    Decided(
        outcome.records,
        outcome.next_offset,
        tallies.collect(),
        batches.collect(),
        rows.collect(),
        outcome.kept.iter().map(|kept| kept_bytes(py, kept)).collect(),
        outcome.unknown.into_iter().collect(),
    )
}

fn kept_bytes<'py>(py: Python<'py>, kept: &Kept) -> KeptBytes<'py> {
    let object = |bytes: &Vec<u8>| PyBytes::new(py, bytes);
    let (hash, length) = match &kept.digest {
        Some((hash, length)) => (Some(PyBytes::new(py, hash)), Some(*length)),
        None => (None, None),
    };
    (kept.key.as_ref().map(object), kept.value.as_ref().map(object), hash, length)
}
