//! The thin layer that Python sees: module `hub.exchange._native`, typed in `hub/exchange/_native.pyi`.

mod buffers;
mod program;
mod values;

use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    buffers::register(module)?;
    program::register(module)?;
    values::register(module)
}
