//! Why a record, or a whole batch, was quarantined: the codes of `hub.model.reasons.Reject`, word for word.

/// One reason. The text is what stands in `hub.Quarantined` and never changes meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reject {
    /// A record batch fails its CRC or cannot be parsed: quarantined whole.
    BatchCorrupt,
    /// A record batch is beyond a bound of `wire::limits`.
    BatchTooLarge,
    /// The value does not begin with 0x00 and a schema id.
    Framing,
    /// The schema id is not known, or not under this dataset's subject.
    SchemaUnknown,
    /// The body ends inside a field.
    Truncated,
    /// Bytes follow the last field.
    Trailing,
    /// A byte sequence is no value of its type.
    ValueInvalid,
    /// A length or count is over the hub's limits.
    Limit,
    /// A value is no valid form of its identifier kind.
    IdentifierInvalid,
    /// A value has no form under its transform.
    TransformFailed,
    /// A row rule could not be evaluated on this record.
    RuleFailed,
    /// The record as granted is over the limit of the share topic.
    OutputTooLarge,
    /// The agreement has no output schema for the record's writer schema.
    OutputSchemaMissing,
}

impl Reject {
    /// The code as it stands in `hub.Quarantined`.
    pub const fn code(self) -> &'static str {
        match self {
            Reject::BatchCorrupt => "batch_corrupt",
            Reject::BatchTooLarge => "batch_too_large",
            Reject::Framing => "framing",
            Reject::SchemaUnknown => "schema_unknown",
            Reject::Truncated => "truncated",
            Reject::Trailing => "trailing_bytes",
            Reject::ValueInvalid => "value_invalid",
            Reject::Limit => "limit_exceeded",
            Reject::IdentifierInvalid => "identifier_invalid",
            Reject::TransformFailed => "transform_failed",
            Reject::RuleFailed => "rule_failed",
            Reject::OutputTooLarge => "output_too_large",
            Reject::OutputSchemaMissing => "output_schema_missing",
        }
    }
}
