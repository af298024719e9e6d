//! Queries use promoted columns by themselves, where the answer is provably the same.
//!
//! `properties->>'price'` and its like are pushed down to the scan by DataFusion; there they are
//! rewritten file by file, because each file says in its footer what its columns are good for
//! ([`Facts`]). Filters become comparisons of a typed column, by which row groups and pages are
//! passed over. Files that promise nothing, and rows that wait for their commit, use the JSON.
//!
//! The rule, for a key with a column of type T that the file holds:
//!
//! | Expression | Needs | Becomes |
//! |---|---|---|
//! | `properties->>'key'`, `json_as_text` | `exact` | the column, as `value_text` writes it |
//! | the same, cast to T | `cast`, or `exact` | the column |
//! | the same, cast to another type | `exact` | the text of the column, cast |
//! | `json_get_str`, `_float`, `_int`, `_bool` and T is what it gives | `exact` | the column |
//!
//! `exact` says that every value in the file that is not null is of type T, and that its text is the
//! one in the JSON: so `1.0` and `1e0` take a file's `exact` away, as `value_text` writes `1`, but
//! not its `cast`, because as numbers they are the same.

mod function;
mod union;

pub(crate) use function::as_type;
pub(crate) use union::ProjectionsThroughUnions;

use arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Result, ScalarValue};
use datafusion::physical_expr::expressions::{Column, Literal, TryCastExpr};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_adapter::{
    DefaultPhysicalExprAdapter, PhysicalExprAdapter, PhysicalExprAdapterFactory,
};
use function::{cast_type, text_of};
use pipeline::log::table::promoted::{FACTS, Facts, FileFacts, Promoted, PromotedType};
use std::collections::HashMap;
use std::sync::Arc;

/// Rewrites expressions over `properties` for each file that is opened.
#[derive(Debug)]
pub(crate) struct PromotedColumns(pub(crate) Arc<Promoted>);

impl PhysicalExprAdapterFactory for PromotedColumns {
    fn create(&self, logical: SchemaRef, file: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let facts: FileFacts =
            file.metadata().get(FACTS).and_then(|facts| serde_json::from_str(facts).ok()).unwrap_or_default();
        let usable = self.0.columns().iter().filter_map(|column| {
            let facts = facts.get(&column.name).filter(|facts| facts.kind == column.kind)?;
            let held = file.field_with_name(&column.name).ok()?.data_type() == &column.kind.data_type();
            let index = logical.index_of(&column.name).ok().filter(|_| held)?;
            Some((column.key.clone(), Usable { column: Column::new(&column.name, index), facts: *facts }))
        });
        let usable: HashMap<String, Usable> = usable.collect();
        let rest = DefaultPhysicalExprAdapter::new(Arc::clone(&logical), file);
        Ok(Arc::new(Adapter { usable, logical, rest }))
    }
}

/// A column of one file, and what it is good for.
#[derive(Debug)]
struct Usable {
    column: Column,
    facts: Facts,
}

#[derive(Debug)]
struct Adapter {
    usable: HashMap<String, Usable>,
    logical: SchemaRef,
    rest: DefaultPhysicalExprAdapter,
}

impl PhysicalExprAdapter for Adapter {
    fn rewrite(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        if self.usable.is_empty() {
            return self.rest.rewrite(expr);
        }
        let rewritten = expr.transform_down(|expr| match self.replaced(&expr)? {
            Some(replaced) => Ok(Transformed::yes(replaced)),
            None => Ok(Transformed::no(expr)),
        });
        self.rest.rewrite(rewritten.data()?)
    }
}

impl Adapter {
    /// What stands for an expression in this file, in terms of the table's columns.
    fn replaced(&self, expr: &Arc<dyn PhysicalExpr>) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let Some(call) = expr.downcast_ref::<ScalarFunctionExpr>() else { return Ok(None) };
        let Some(usable) = property(call).and_then(|key| self.usable.get(key)) else { return Ok(None) };
        let Facts { kind, exact, cast, .. } = usable.facts;
        let column = || Arc::new(usable.column.clone()) as Arc<dyn PhysicalExpr>;
        let gives = match call.fun().name() {
            "json_as_text" if exact => return self.text(usable).map(Some),
            "json_get_str" => PromotedType::Text,
            "json_get_float" => PromotedType::Double,
            "json_get_int" => PromotedType::Bigint,
            "json_get_bool" => PromotedType::Boolean,
            _ => {
                let Some(wanted) = cast_type(call.fun()) else { return Ok(None) };
                if *wanted == kind.data_type() {
                    return Ok((cast || exact).then(column));
                }
                let text = exact.then(|| self.text(usable)).transpose()?;
                return Ok(text.map(|text| Arc::new(TryCastExpr::new(text, wanted.clone())) as _));
            }
        };
        Ok((exact && gives == kind).then(column))
    }

    fn text(&self, usable: &Usable) -> Result<Arc<dyn PhysicalExpr>> {
        let column = Arc::new(usable.column.clone()) as Arc<dyn PhysicalExpr>;
        if usable.facts.kind == PromotedType::Text {
            return Ok(column);
        }
        let options = Arc::new(ConfigOptions::default());
        Ok(Arc::new(ScalarFunctionExpr::try_new(text_of(), vec![column], &self.logical, options)?))
    }
}

/// The key of a call that takes one key out of `properties`.
fn property(call: &ScalarFunctionExpr) -> Option<&str> {
    let [json, key] = call.args() else { return None };
    json.downcast_ref::<Column>().filter(|column| column.name() == "properties")?;
    match key.downcast_ref::<Literal>()?.value() {
        ScalarValue::Utf8(Some(key))
        | ScalarValue::Utf8View(Some(key))
        | ScalarValue::LargeUtf8(Some(key)) => Some(key),
        _ => None,
    }
}

/// Whether a call takes something out of `properties` that a promoted column may hold.
fn may_be_promoted(expr: &Arc<dyn PhysicalExpr>) -> bool {
    let is_call = |expr: &Arc<dyn PhysicalExpr>| {
        expr.downcast_ref::<ScalarFunctionExpr>().is_some_and(|call| property(call).is_some())
    };
    let mut found = false;
    let _ = expr.apply(|expr| {
        found |= is_call(expr);
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    });
    found
}

#[cfg(test)]
mod tests;
