//! Python's buffer protocol over pooled memory: what a kernel built goes to the socket, and what the socket gave goes to a kernel,
//! without a copy.
//!
//! The memory belongs to the Python object and lives as long as any view on it, since a view holds the object. Rust writes to it
//! only while no view is out and the interpreter is held, as `bytearray` does; so no two parties ever see it change under them,
//! but for a `ReceiveBuffer`, which is there to be written to by whoever asked for the view.

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::wire::{PooledBuffer, stamp};

/// The most that one receive buffer may be: an answer of a broker is bounded far below it.
const RECEIVE_BYTES_MAX: usize = 1 << 30;

struct Viewed {
    bytes: UnsafeCell<PooledBuffer>,
    views: AtomicUsize,
}

// SAFETY: `bytes` is reached only through methods that ask for proof that the interpreter is held, one thread at a time; those that
// write refuse while a view is out.
unsafe impl Sync for Viewed {}

impl Viewed {
    fn new(bytes: PooledBuffer) -> Viewed {
        Viewed { bytes: UnsafeCell::new(bytes), views: AtomicUsize::new(0) }
    }

    fn len(&self, _held: Python<'_>) -> usize {
        // SAFETY: the interpreter is held, so nobody writes meanwhile (see above).
        unsafe { &*self.bytes.get() }.len()
    }

    /// Lets `write` change the bytes; it is given nothing by which it could come back here.
    fn write(&self, _held: Python<'_>, write: impl FnOnce(&mut [u8])) -> PyResult<()> {
        if self.views.load(Ordering::Acquire) != 0 {
            return Err(PyBufferError::new_err("the batch cannot change while it is viewed"));
        }
        // SAFETY: no view is out, and the interpreter is held: this is the only reference.
        write(unsafe { &mut *self.bytes.get() });
        Ok(())
    }

    /// # Safety
    /// `view` is what the interpreter passed to `__getbuffer__` of `owner`, which owns this memory.
    unsafe fn view(&self, owner: &Bound<'_, PyAny>, view: *mut ffi::Py_buffer, flags: c_int, writable: bool) -> PyResult<()> {
        // SAFETY: the interpreter is held; the pointer stays good until the object dies, which the view's reference to it prevents.
        let filled = unsafe {
            let bytes: &mut PooledBuffer = &mut *self.bytes.get();
            let (start, len) = (bytes.as_mut_ptr(), bytes.len());
            ffi::PyBuffer_FillInfo(view, owner.as_ptr(), start.cast(), len as ffi::Py_ssize_t, c_int::from(!writable), flags)
        };
        if filled != 0 {
            return Err(PyErr::fetch(owner.py()));
        }
        self.views.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    fn released(&self) {
        self.views.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A record batch that a kernel built: read through the buffer protocol, stamped in place.
#[pyclass(frozen, module = "hub.exchange._native")]
pub struct BatchBuffer {
    memory: Viewed,
    stamped: UnsafeCell<Option<Stamp>>,
}

// SAFETY: `stamped` is reached by `stamp` alone, which holds the interpreter and calls nothing that lets go of it.
unsafe impl Sync for BatchBuffer {}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    producer_id: i64,
    epoch: i16,
    sequence: i32,
    transactional: bool,
}

impl BatchBuffer {
    /// Hands a finished batch to Python.
    pub fn new(batch: PooledBuffer) -> BatchBuffer {
        BatchBuffer { memory: Viewed::new(batch), stamped: UnsafeCell::new(None) }
    }
}

#[pymethods]
impl BatchBuffer {
    fn __len__(&self, py: Python<'_>) -> usize {
        self.memory.len(py)
    }

    /// Sets producer id, epoch, base sequence and the transactional bit, and makes the CRC; the same stamp again changes nothing.
    ///
    /// BufferError while the batch is viewed: it may be on its way to a broker.
    fn stamp(&self, py: Python<'_>, producer_id: i64, epoch: i16, sequence: i32, transactional: bool) -> PyResult<()> {
        let wanted = Stamp { producer_id, epoch, sequence, transactional };
        // SAFETY: the interpreter is held and nothing below lets go of it.
        let stamped = unsafe { &mut *self.stamped.get() };
        if *stamped == Some(wanted) {
            return Ok(());
        }
        if stamped.is_some_and(|before| before.transactional && !transactional) {
            return Err(PyValueError::new_err("a batch of a transaction stays one"));
        }
        self.memory.write(py, |batch| stamp(batch, producer_id, epoch, sequence, transactional))?;
        *stamped = Some(wanted);
        Ok(())
    }

    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        // SAFETY: the interpreter passes the view, and `slf` owns the memory.
        unsafe { slf.get().memory.view(slf.as_any(), view, flags, false) }
    }

    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        self.memory.released();
    }
}

/// Writable memory from the pool for what a broker answers; it goes back when the object and all views on it are gone, which a weak
/// reference tells whoever bounds such memory.
#[pyclass(frozen, weakref, module = "hub.exchange._native")]
pub struct ReceiveBuffer {
    memory: Viewed,
}

#[pymethods]
impl ReceiveBuffer {
    #[new]
    fn new(size: usize) -> PyResult<ReceiveBuffer> {
        if size > RECEIVE_BYTES_MAX {
            return Err(PyValueError::new_err("a receive buffer is at most a gigabyte"));
        }
        Ok(ReceiveBuffer { memory: Viewed::new(PooledBuffer::new(size)) })
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.memory.len(py)
    }

    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        // SAFETY: the interpreter passes the view, and `slf` owns the memory.
        unsafe { slf.get().memory.view(slf.as_any(), view, flags, true) }
    }

    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {
        self.memory.released();
    }
}

/// Bytes that a Python object lends for the time of a call, also without the interpreter.
pub struct Lent(PyBuffer<u8>);

impl Lent {
    /// Borrows `object`'s bytes: `bytes`, a buffer of this module, or a contiguous view on one.
    pub fn of(object: &Bound<'_, PyAny>) -> PyResult<Lent> {
        let buffer = PyBuffer::<u8>::get(object)?;
        if !buffer.is_c_contiguous() {
            return Err(PyBufferError::new_err("the bytes of a chunk must be contiguous"));
        }
        Ok(Lent(buffer))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        if self.0.len_bytes() == 0 {
            return &[];
        }
        // SAFETY: the view is contiguous, of bytes, and keeps its memory in place as long as `self`. Nobody writes meanwhile: `bytes`
        // never change, a batch that is viewed is not stamped, and whoever receives into a buffer is done before it becomes a chunk.
        unsafe { std::slice::from_raw_parts(self.0.buf_ptr().cast::<u8>(), self.0.len_bytes()) }
    }
}
