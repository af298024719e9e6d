//! `traits_fold(traits, timestamp, received_at, log_partition)`: what is known of a user after all
//! of their `identify` calls.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use pipeline::Micros;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

/// A profile has at most this many traits; of more, those first in the alphabet are kept, so that
/// the outcome does not depend on the order in which rows are read.
pub(crate) const TRAITS_MAX: usize = 1_000;

/// The aggregate. Its arguments are JSON text and two times in microseconds since 1970, and text;
/// its value is a JSON object of the latest value of each key, keys in order, values as they were
/// sent.
///
/// The latest is the one with the highest timestamp; among equals the one later in the log, whose
/// order is that of `received_at` and then of the partition. A JSON null deletes the key; what is
/// no JSON object changes nothing. The value of nothing but such rows is `{}`.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct TraitsFold {
    signature: Signature,
}

impl Default for TraitsFold {
    fn default() -> Self {
        let arguments = vec![DataType::Utf8, DataType::Int64, DataType::Int64, DataType::Utf8];
        Self { signature: Signature::exact(arguments, Volatility::Immutable) }
    }
}

impl AggregateUDFImpl for TraitsFold {
    fn name(&self) -> &str {
        "traits_fold"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn accumulator(&self, _: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Folded::default()))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[traits]", args.name), DataType::Utf8, true))])
    }
}

/// When a value was set: by the client's clock, then by the log's order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Moment(Micros, Micros, Arc<str>);

#[derive(Debug, Serialize, Deserialize)]
struct Trait(Moment, Box<RawValue>);

impl Trait {
    fn bytes(&self) -> usize {
        size_of::<Self>() + self.1.get().len()
    }
}

#[derive(Debug, Default)]
struct Folded {
    traits: BTreeMap<String, Trait>,
    bytes: usize,
}

impl Folded {
    fn set(&mut self, key: String, new: Trait) {
        match self.traits.entry(key) {
            Entry::Occupied(mut old) => {
                if new.0 >= old.get().0 {
                    self.bytes = self.bytes + new.bytes() - old.get().bytes();
                    old.insert(new);
                }
            }
            Entry::Vacant(free) => {
                self.bytes += free.key().len() + new.bytes();
                free.insert(new);
            }
        }
        if self.traits.len() > TRAITS_MAX
            && let Some((key, value)) = self.traits.pop_last()
        {
            self.bytes -= key.len() + value.bytes();
        }
    }
}

impl Accumulator for Folded {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [traits, timestamps, received, partitions] = values else {
            return Err(exec_datafusion_err!("traits_fold takes four arguments"));
        };
        let (traits, partitions) = (text(traits)?, text(partitions)?);
        let timestamps = timestamps.as_primitive::<Int64Type>();
        let received = received.as_primitive::<Int64Type>();
        let mut partition: Arc<str> = "".into();
        for row in (0..traits.len()).filter(|&row| traits.is_valid(row)) {
            let Ok(object) = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(traits.value(row))
            else {
                continue;
            };
            if *partition != *partitions.value(row) {
                partition = partitions.value(row).into();
            }
            let moment = Moment(timestamps.value(row), received.value(row), Arc::clone(&partition));
            for (key, value) in object {
                self.set(key, Trait(moment.clone(), value));
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [states] = states else {
            return Err(exec_datafusion_err!("traits_fold has one state"));
        };
        for state in text(states)?.iter().flatten() {
            let traits: BTreeMap<String, Trait> = serde_json::from_str(state)
                .map_err(|error| exec_datafusion_err!("a state of traits_fold cannot be read: {error}"))?;
            for (key, value) in traits {
                self.set(key, value);
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Utf8(Some(to_json(&self.traits)?))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let kept: BTreeMap<&str, &RawValue> = self
            .traits
            .iter()
            .filter(|(_, value)| value.1.get() != "null")
            .map(|(key, value)| (key.as_str(), value.1.as_ref()))
            .collect();
        Ok(ScalarValue::Utf8(Some(to_json(&kept)?)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.bytes + self.traits.len() * size_of::<String>()
    }
}

fn text(array: &ArrayRef) -> Result<&StringArray> {
    array
        .as_string_opt()
        .ok_or_else(|| exec_datafusion_err!("traits_fold takes text, not {}", array.data_type()))
}

fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|error| exec_datafusion_err!("traits cannot be written as JSON: {error}"))
}

#[cfg(test)]
mod tests;
