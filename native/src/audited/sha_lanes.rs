//! SHA-256 of four messages at once on the processor's SHA instructions.

/// Tells whether this processor has what `digests` needs.
pub fn supported() -> bool {
    false
}
