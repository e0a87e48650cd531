//! `_native.values`: single values by themselves, for the tests that hold them equal to the reference.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use serde::de::DeserializeOwned;

use crate::values::{Change, Column, Forms, IdentifierKind, MacKey, Means, Stage, Test, normal_form};

/// Adds the submodule.
pub fn register(parent: &Bound<'_, PyModule>) -> PyResult<()> {
    let module = PyModule::new(parent.py(), "values")?;
    module.add_function(wrap_pyfunction!(holds, &module)?)?;
    module.add_function(wrap_pyfunction!(truths, &module)?)?;
    module.add_function(wrap_pyfunction!(changed, &module)?)?;
    module.add_function(wrap_pyfunction!(normal_forms, &module)?)?;
    module.add_function(wrap_pyfunction!(pseudonyms, &module)?)?;
    module.add("SHA_256", Means::of_processor().to_string())?;
    parent.add_submodule(&module)
}

fn read<T: DeserializeOwned>(spec: &str) -> PyResult<T> {
    serde_json::from_str(spec).map_err(|error| PyValueError::new_err(error.to_string()))
}

fn test(spec: &str) -> PyResult<Test> {
    Test::compile(&read(spec)?).map_err(|error| PyValueError::new_err(error.to_string()))
}

/// Tells of each value whether a test holds.
#[pyfunction]
fn holds(spec: &str, values: Vec<Vec<u8>>) -> PyResult<Vec<bool>> {
    let test = test(spec)?;
    Ok(values.iter().map(|value| test.holds(value)).collect())
}

/// Tells of each value which tests of a column hold.
#[pyfunction]
fn truths(specs: Vec<String>, values: Vec<Vec<u8>>) -> PyResult<Vec<u64>> {
    let column = Column::new(&specs.iter().map(|spec| test(spec)).collect::<PyResult<Vec<_>>>()?);
    Ok(values.iter().map(|value| column.truths(value)).collect())
}

/// Makes of each value what a change makes of it; None where it is refused.
#[pyfunction]
fn changed<'py>(py: Python<'py>, spec: &str, values: Vec<Vec<u8>>) -> PyResult<Vec<Option<Bound<'py, PyBytes>>>> {
    let change = Change::compile(&read(spec)?).map_err(|error| PyValueError::new_err(error.to_string()))?;
    let mut out = Vec::new();
    let mut one = |value: &Vec<u8>| {
        out.clear();
        let fits = change.write(value, &mut out).is_ok();
        if out.len() > change.bound(value.len()) || (!fits && !out.is_empty()) {
            return Err(PyValueError::new_err("a change wrote more than it says"));
        }
        Ok(fits.then(|| PyBytes::new(py, &out)))
    };
    values.iter().map(&mut one).collect()
}

/// The normal form of each text; None where it is no valid form of its kind.
#[pyfunction]
fn normal_forms(kind: &str, texts: Vec<String>) -> Vec<Option<String>> {
    let kind = IdentifierKind::named(kind);
    let mut forms = Forms::default();
    let mut one = |text: &String| normal_form(kind, text.as_bytes(), &mut forms).map(|form| String::from_utf8_lossy(form).into_owned());
    texts.iter().map(&mut one).collect()
}

/// The pseudonym of each job: the index of a key, and a normal form.
#[pyfunction]
fn pseudonyms(keys: Vec<[u8; 32]>, jobs: Vec<(u32, String)>) -> PyResult<Vec<String>> {
    if jobs.iter().any(|(key, _)| *key as usize >= keys.len()) {
        return Err(PyValueError::new_err("a job names no key"));
    }
    let keys: Vec<MacKey> = keys.iter().map(MacKey::new).collect();
    let mut stage = Stage::default();
    let found: Vec<u32> = jobs
        .iter()
        .map(|(key, normal)| {
            let message = stage.message(normal.as_bytes());
            stage.job(*key, message)
        })
        .collect();
    stage.run(&keys);
    Ok(found.iter().map(|job| String::from_utf8_lossy(stage.found(*job)).into_owned()).collect())
}
