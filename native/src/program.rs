//! Programs: what Python lowered a plan into, compiled for the engine.
//!
//! The JSON is fully resolved: no names, no agreement's terms, no meaning to interpret. Unknown members are refused, and so is a
//! program that does not fit together. Keys come beside it as bytes, are referred to by index, and are wiped when it is dropped.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;

use crate::form::{FormCompiler, Fragment, GrantSpec, Message, Pair, Piece, pair_of};
use crate::limits::{ARENA_BYTES, BLOCK_BYTES, BLOCK_RECORDS};
use crate::rule::{LeafSpec, RuleSpec, Rules};
use crate::values::{IdentifierKind, MacKey, SpecError};
use crate::walk::Walker;
use crate::walk::layout::Layout;
use crate::walk::node::Node;
use crate::wire::Codec;

/// A program that cannot be compiled: an error of whoever made it. Carries nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault(pub &'static str);

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

impl std::error::Error for Fault {}

impl From<SpecError> for Fault {
    fn from(error: SpecError) -> Fault {
        Fault(error.0)
    }
}

/// A program as Python says it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramSpec {
    limits: Limits,
    key_kind: Option<String>,
    writers: Vec<WriterSpec>,
    agreements: Vec<AgreementSpec>,
}

/// Bounds of a step, as `hub.exchange.plan.Limits`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes of key and value of an output record.
    pub record_bytes_max: usize,
    /// Bytes of an output batch, uncompressed.
    pub batch_bytes_max: usize,
    /// Codec of output batches; none: that of the first batch that can be read.
    #[serde(deserialize_with = "codec")]
    pub output_codec: Option<Codec>,
    /// A step that has read so much ends at the next border.
    pub step_plain_bytes_max: u64,
    /// Likewise of output.
    pub step_output_bytes_max: u64,
    /// Likewise of quarantined records.
    pub step_quarantined_max: usize,
    /// Likewise of their bytes.
    pub step_quarantined_bytes_max: u64,
}

fn codec<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Codec>, D::Error> {
    let name = String::deserialize(deserializer)?;
    if name == "source" {
        return Ok(None);
    }
    Codec::named(&name).map(Some).ok_or_else(|| serde::de::Error::custom("no codec"))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WriterSpec {
    id: u32,
    fields: Vec<Node>,
    leaves: Vec<LeafSpec>,
    rules: Vec<RuleSpec>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AgreementSpec {
    key: KeySpec,
    tombstones: bool,
    /// By writer; none where the agreement has no output schema for it.
    shares: Vec<Option<ShareSpec>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeySpec {
    Drop,
    Keep,
    Pseudonym(usize),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShareSpec {
    output_id: u32,
    rule: Option<usize>,
    grants: Vec<(usize, GrantSpec)>,
}

/// A plan, compiled.
pub struct Program {
    /// Bounds of a step.
    pub limits: Limits,
    /// In the plan's order.
    pub agreements: Vec<Agreement>,
    /// By index.
    pub keys: Vec<MacKey>,
    /// Writer schemas; the last one is that of records without value, and has no id.
    pub writers: Vec<Writer>,
    ids: HashMap<u32, usize>,
}

/// What an agreement has, whichever schema wrote the record.
pub struct Agreement {
    /// What becomes of the record key.
    pub key: KeyRule,
    /// Whether a record without value, but with a key, is delivered.
    pub tombstones: bool,
}

/// What becomes of the record key. A pseudonym is told by its pair, the same in every writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRule {
    /// No key.
    Drop,
    /// As it stands, if it is text.
    Keep,
    /// Under the key of that pair.
    Pseudonym(usize),
}

/// A writer schema with everything that the plan asks of it.
pub struct Writer {
    /// Finds the parts of a record.
    pub walker: Walker,
    /// Decides on rows.
    pub rules: Rules,
    /// Runs of output that no key takes part in.
    pub fragments: Vec<Fragment>,
    /// What pseudonyms are made of.
    pub messages: Vec<Message>,
    /// Pseudonyms.
    pub pairs: Vec<Pair>,
    /// By agreement; none where it has no output schema for this writer.
    pub shares: Vec<Option<Share>>,
    /// A block ends when its records hold so much, so that what is made of them stays within bounds.
    pub block_bytes_max: usize,
    /// Or when it has so many.
    pub block_records_max: usize,
}

/// An agreement on one writer schema.
pub struct Share {
    /// What stands before the body.
    pub framing: [u8; 5],
    /// Which rule; none: every row.
    pub rule: Option<usize>,
    /// The body.
    pub pieces: Vec<Piece>,
}

/// The most rules, agreements or keys that a program may have: places are kept in 32 bits.
const MANY: usize = 1_000_000;

impl Program {
    /// Compiles a program; `keys` are 32 bytes each.
    pub fn compile(spec: &str, keys: &[[u8; 32]]) -> Result<Program, Fault> {
        let spec: ProgramSpec = serde_json::from_str(spec).map_err(|_| Fault("the program is no JSON of this version"))?;
        let bytes_max = spec.limits.batch_bytes_max.max(spec.limits.record_bytes_max);
        if spec.agreements.len() > MANY || keys.len() > MANY || bytes_max > i32::MAX as usize {
            return Err(Fault("the program is too large"));
        }
        let kind = spec.key_kind.as_deref().map(IdentifierKind::named);
        let (mut pairs, mut messages) = (Vec::new(), Vec::new());
        let mut agreements = Vec::new();
        for agreement in &spec.agreements {
            let key = match (&agreement.key, kind) {
                (KeySpec::Drop, _) => KeyRule::Drop,
                (KeySpec::Keep, _) => KeyRule::Keep,
                (KeySpec::Pseudonym(key), Some(kind)) if *key < keys.len() => {
                    KeyRule::Pseudonym(pair_of(&mut pairs, &mut messages, *key, Message { slot: None, kind }))
                }
                _ => return Err(Fault("a key rule names no key")),
            };
            agreements.push(Agreement { key, tombstones: agreement.tombstones });
        }
        let mut ids = HashMap::new();
        let mut writers = Vec::new();
        for (place, writer) in spec.writers.into_iter().enumerate() {
            ids.insert(writer.id, place);
            let shares = spec.agreements.iter().map(|agreement| agreement.shares.get(place).and_then(Option::as_ref));
            writers.push(Writer::compile(writer, &shares.collect::<Vec<_>>(), keys.len(), &pairs, &messages)?);
        }
        let nobody = WriterSpec { id: 0, fields: Vec::new(), leaves: Vec::new(), rules: Vec::new() };
        writers.push(Writer::compile(nobody, &vec![None; agreements.len()], keys.len(), &pairs, &messages)?);
        Ok(Program { limits: spec.limits, agreements, keys: keys.iter().map(MacKey::new).collect(), writers, ids })
    }

    /// The writer of a schema id.
    #[inline]
    pub fn writer(&self, schema_id: u32) -> Option<usize> {
        self.ids.get(&schema_id).copied()
    }

    /// The writer of records without value.
    pub fn nobody(&self) -> usize {
        self.writers.len() - 1
    }
}

impl Writer {
    fn compile(
        spec: WriterSpec,
        shares: &[Option<&ShareSpec>],
        keys: usize,
        pairs: &[Pair],
        messages: &[Message],
    ) -> Result<Writer, Fault> {
        spec.fields.iter().try_for_each(Node::check).map_err(Fault)?;
        let mut layout = Layout::new(spec.fields)?;
        let rules = Rules::compile(&spec.leaves, &spec.rules, &mut layout)?;
        let mut forms = FormCompiler::new(&mut layout, keys, pairs, messages);
        let mut found = Vec::new();
        for share in shares {
            found.push(match share {
                None => None,
                Some(share) if share.rule.is_some_and(|rule| rule >= rules.len()) => return Err(Fault("an agreement names no rule")),
                Some(share) => {
                    let mut framing = [0; 5];
                    framing[1..].copy_from_slice(&share.output_id.to_be_bytes());
                    Some(Share { framing, rule: share.rule, pieces: forms.form(&share.grants)? })
                }
            });
        }
        let (fragments, pairs, messages) = forms.finish();
        let by_byte = fragments.iter().map(|fragment| fragment.weight().by_byte).fold(1, usize::saturating_add);
        let besides = fragments.iter().map(|fragment| fragment.weight().besides).fold(1, usize::saturating_add);
        let block_bytes_max = BLOCK_BYTES.min(ARENA_BYTES / by_byte);
        let block_records_max = (ARENA_BYTES / besides).clamp(1, BLOCK_RECORDS);
        Ok(Writer { walker: layout.walker(), rules, fragments, messages, pairs, shares: found, block_bytes_max, block_records_max })
    }
}
