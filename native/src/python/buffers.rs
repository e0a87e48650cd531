//! Record batches for Python: the buffers that they live in, and reading and building them apart from a step.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::audited::buffers::{BatchBuffer, Lent, ReceiveBuffer};
use crate::wire::{BatchBuilder, BatchHeader, Codec, Scratch, Unreadable, limits, read};

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<BatchBuffer>()?;
    module.add_class::<ReceiveBuffer>()?;
    module.add(
        "BATCH_BOUNDS",
        (limits::RECORDS_MAX, limits::PLAIN_BYTES_MAX, limits::RECORD_HEADERS_MAX, limits::GZIP_MEMBERS_MAX, limits::ZSTD_WINDOW_LOG_MAX),
    )?;
    module.add_function(wrap_pyfunction!(read_records, module)?)?;
    module.add_function(wrap_pyfunction!(build_batches, module)?)
}

type Bytes<'py> = Option<Bound<'py, PyBytes>>;

/// Reads one whole batch as a kernel does: offset, key and value of each record; ValueError with the code where it is unreadable.
///
/// A kernel needs no such list: this is for whoever compares the two readers.
#[pyfunction]
fn read_records<'py>(py: Python<'py>, batch: &Bound<'py, PyAny>) -> PyResult<Vec<(i64, Bytes<'py>, Bytes<'py>)>> {
    let lent = Lent::of(batch)?;
    let unreadable = |reason: Unreadable| PyValueError::new_err(reason.code());
    let header = BatchHeader::of(lent.bytes()).ok_or_else(|| unreadable(Unreadable::Cut))?;
    let mut scratch = Scratch::default();
    let records = read(lent.bytes(), &header, &mut scratch).map_err(unreadable)?;
    let object = |bytes: &[u8]| PyBytes::new(py, bytes);
    Ok(records
        .frames
        .iter()
        .map(|frame| (records.offset(frame), frame.key(records.plain).map(object), frame.value(records.plain).map(object)))
        .collect())
}

/// Builds batches of at most `bytes_max` uncompressed bytes: each with its number of records, not yet stamped.
#[pyfunction]
#[pyo3(signature = (records, *, bytes_max, timestamp_ms, codec))]
fn build_batches<'py>(
    records: Vec<(Bytes<'py>, Bytes<'py>)>,
    bytes_max: usize,
    timestamp_ms: i64,
    codec: u8,
) -> PyResult<Vec<(BatchBuffer, i32)>> {
    let codec = Codec::of(codec).ok_or_else(|| PyValueError::new_err(Unreadable::CodecUnknown.code()))?;
    let mut builder = BatchBuilder::new(codec, timestamp_ms, bytes_max);
    for (key, value) in &records {
        let value = value.as_ref().map(|value| value.as_bytes());
        builder.begin(key.as_ref().map(|key| key.as_bytes()), value.map(<[u8]>::len));
        builder.hint();
        builder.put(value.unwrap_or_default());
        builder.end();
    }
    let built = builder.finish(&mut Scratch::default());
    Ok(built.into_iter().map(|batch| (BatchBuffer::new(batch.buffer), batch.records)).collect())
}
