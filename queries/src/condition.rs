//! Conditions on events, compiled once and evaluated for many events at a time.

use crate::engine::base_state;
use crate::json_casts::lenient;
use crate::{Position, SqlError};
use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TransformedResult, TreeNode};
use datafusion::common::{DFSchema, DataFusionError, Result as PlanResult};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{Expr, ExprSchemable, Volatility};
use datafusion::optimizer::simplify_expressions::{ExprSimplifier, SimplifyContext};
use datafusion::physical_plan::PhysicalExpr;
use pipeline::condition::{Compiler, Condition, ConditionError};
use pipeline::event::Event;
use pipeline::log::table::TableKind;
use pipeline::log::{Stored, event_rows};
use std::sync::Arc;

/// The longest condition, in bytes.
const CONDITION_BYTES_MAX: usize = 16 << 10;

/// Compiles conditions in the SQL of queries: the same columns, functions and lenient casts.
pub struct Conditions {
    state: SessionState,
    schema: DFSchema,
}

impl Conditions {
    /// A compiler for conditions over the columns of `events`.
    ///
    /// # Errors
    /// [`SqlError::Failed`] when the query engine cannot be set up.
    pub fn new() -> Result<Self, SqlError> {
        let set_up = || {
            let schema = DFSchema::try_from(TableKind::Events.schema().as_ref().clone())?;
            PlanResult::Ok(Self { state: base_state()?, schema })
        };
        set_up().map_err(|error| SqlError::of(&error, ""))
    }

    fn plan(&self, text: &str) -> PlanResult<Expr> {
        let expr = self.state.create_logical_expr(text, &self.schema)?;
        let context = SimplifyContext::builder().with_schema(Arc::new(self.schema.clone())).build();
        let expr = ExprSimplifier::new(context).coerce(expr, &self.schema)?;
        expr.transform_up(lenient).data()
    }
}

impl Compiler for Conditions {
    fn compile(&self, text: &str) -> Result<Arc<dyn Condition>, ConditionError> {
        if text.trim().is_empty() {
            return Err(invalid("the condition is empty; leave it out to take every event".into()));
        }
        if text.len() > CONDITION_BYTES_MAX {
            let bytes = text.len();
            let message =
                format!("the condition has {bytes} bytes; at most {CONDITION_BYTES_MAX} are allowed");
            return Err(invalid(message));
        }
        let explain = |error: DataFusionError| error_of(&error, text);
        let expr = self.plan(text).map_err(explain)?;
        if let Some(what) = refusal(&expr) {
            return Err(invalid(format!("{what} is not allowed: a condition looks at one event by itself")));
        }
        match expr.get_type(&self.schema).map_err(explain)? {
            DataType::Boolean | DataType::Null => {}
            other => {
                let message =
                    format!("the condition gives {other} and not true or false; compare it with something");
                return Err(invalid(message));
            }
        }
        let physical = self.state.create_physical_expr(expr, &self.schema).map_err(explain)?;
        Ok(Arc::new(Compiled(physical)))
    }
}

#[derive(Debug)]
struct Compiled(Arc<dyn PhysicalExpr>);

impl Condition for Compiled {
    fn holds(&self, events: &[Stored<Event<'static>>]) -> Result<Vec<bool>, String> {
        let mut held = Vec::with_capacity(events.len());
        for rows in event_rows(events) {
            let explain = |error: DataFusionError| SqlError::of(&error, "").to_string();
            let value = self.0.evaluate(&rows).map_err(explain)?;
            let values = value.into_array(rows.num_rows()).map_err(explain)?;
            match values.as_boolean_opt() {
                Some(values) => {
                    held.extend((0..values.len()).map(|row| values.is_valid(row) && values.value(row)))
                }
                None => held.resize(held.len() + rows.num_rows(), false), // NULL, whatever the event
            }
        }
        Ok(held)
    }
}

/// What in a condition needs more than one event, or gives another answer each time.
fn refusal(expr: &Expr) -> Option<&'static str> {
    let mut found = None;
    let looked = expr.exists(|expr| {
        found = match expr {
            Expr::AggregateFunction(_) => Some("an aggregate function"),
            Expr::WindowFunction(_) => Some("a window function"),
            Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_) => {
                Some("a subquery")
            }
            Expr::Placeholder(_) => Some("a placeholder"),
            Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
                Some("a function that gives another answer each time")
            }
            _ => None,
        };
        Ok(found.is_some())
    });
    looked.is_ok_and(|found| found).then_some(found).flatten()
}

fn invalid(message: String) -> ConditionError {
    ConditionError { message, at: None }
}

fn error_of(error: &DataFusionError, text: &str) -> ConditionError {
    match SqlError::of(error, text) {
        SqlError::Invalid { message, at } => {
            ConditionError { message, at: at.map(|at| character(text, &at)) }
        }
        other => invalid(other.to_string()),
    }
}

/// A place in `text`, in characters from 0.
fn character(text: &str, at: &Position) -> usize {
    let lines_before = usize::try_from(at.line.saturating_sub(1)).unwrap_or(usize::MAX);
    let before: usize = text.split_inclusive('\n').take(lines_before).map(|line| line.chars().count()).sum();
    before + usize::try_from(at.column.saturating_sub(1)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
