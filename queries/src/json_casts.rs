//! Casts of values taken out of JSON never fail.

use crate::promoted::as_type;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::logical_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

/// Turns `(properties->>'price')::double` into `try_cast`, casts that a comparison implies too.
///
/// Clients send what they like; one event with a price of `"free"` must not make every query over
/// prices fail. A value that does not fit is NULL.
#[derive(Debug)]
pub(crate) struct JsonCasts;

impl AnalyzerRule for JsonCasts {
    fn name(&self) -> &'static str {
        "json_casts"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.transform_up_with_subqueries(|plan| {
            let names = NamePreserver::new(&plan);
            let plan = plan.map_expressions(|expr| {
                let name = names.save(&expr);
                Ok(expr.transform_up(lenient)?.update_data(|expr| name.restore(expr)))
            })?;
            if plan.transformed { plan.map_data(LogicalPlan::recompute_schema) } else { Ok(plan) }
        })
        .data()
    }
}

/// The same for one expression.
pub(crate) fn lenient(expr: Expr) -> Result<Transformed<Expr>> {
    match expr {
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) if is_json_text(&expr) => {
            let call = json_text(&expr).and_then(|call| as_type(call, field.data_type()));
            Ok(Transformed::yes(call.unwrap_or(Expr::TryCast(TryCast { expr, field }))))
        }
        other => Ok(Transformed::no(other)),
    }
}

fn is_json_text(expr: &Expr) -> bool {
    json_text(expr).is_some()
}

/// The call that gives text out of JSON.
fn json_text(expr: &Expr) -> Option<&ScalarFunction> {
    match expr {
        Expr::Alias(alias) => json_text(&alias.expr),
        Expr::ScalarFunction(call) => {
            matches!(call.func.name(), "json_as_text" | "json_get_str").then_some(call)
        }
        _ => None,
    }
}
