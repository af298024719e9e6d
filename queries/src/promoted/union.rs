//! What is taken out of `properties` is taken out below a union of files and fresh rows.

use super::may_be_promoted;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::union::UnionExec;
use std::sync::Arc;

/// Pushes projections over `properties` below unions; DataFusion does so only where a projection
/// has fewer columns than its input, and then merges it into the scan.
#[derive(Debug)]
pub(crate) struct ProjectionsThroughUnions;

impl PhysicalOptimizerRule for ProjectionsThroughUnions {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_down(|plan| match pushed(&plan)? {
            Some(pushed) => Ok(Transformed::yes(pushed)),
            None => Ok(Transformed::no(plan)),
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "projections_through_unions"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn pushed(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(projection) = plan.downcast_ref::<ProjectionExec>() else { return Ok(None) };
    let Some(union) = projection.input().downcast_ref::<UnionExec>() else { return Ok(None) };
    if !projection.expr().iter().any(|projected| may_be_promoted(&projected.expr)) {
        return Ok(None);
    }
    let inputs: Result<Vec<Arc<dyn ExecutionPlan>>> = union
        .inputs()
        .iter()
        .map(|input| {
            let projection = ProjectionExec::try_new(projection.expr().to_vec(), Arc::clone(input))?;
            Ok(Arc::new(projection) as _)
        })
        .collect();
    UnionExec::try_new(inputs?).map(Some)
}
