//! Single Avro values: tests of row conditions, transforms, identifiers' normal forms and their pseudonyms.
//!
//! Everything here works on the **encoded** bytes of one value that is not null: a string with its length, a long as its
//! varint, a decimal on bytes with its length, on fixed without. The union's branch has been taken off, and the walk has held
//! that the bytes are a value of their type; bytes that are none give some answer and never a panic. Nothing is looked up by
//! name and nothing is interpreted twice: `hub.exchange.native.values` has worked out bounds, symbols and labels, and what is
//! compiled here from its specs (JSON, unknown members refused) is told apart by the bytes that it reads and nothing else.
//! The meaning is that of `hub.exchange.reference`; a difference is an error here.

mod calendar;
mod change;
mod column;
mod dictionary;
mod divisor;
mod identifier;
mod label;
mod pseudonym;
pub mod read;
mod shanghai;
mod short;
mod spec;
mod steps;
mod test;
mod text;
mod unicode;
mod wide;
pub mod write;

pub use change::{Change, ChangeSpec};
pub use column::{COLUMN_TESTS_MAX, Column};
pub use identifier::{Forms, IdentifierKind, is_key_text, normal_form};
pub use pseudonym::{MacKey, Means, PSEUDONYM_BYTES, Stage, pseudonym};
pub use spec::SpecError;
pub use test::{Test, TestSpec};
