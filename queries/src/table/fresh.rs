//! Rows that wait for their commit, as a plan.

use arrow::datatypes::SchemaRef;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::StreamExt;
use pipeline::log::TableView;
use std::sync::Arc;

/// A scan of the view's fresh rows; `None` when there are none.
pub(super) fn scan(
    view: &TableView,
    schema: &SchemaRef,
    projection: Option<&Vec<usize>>,
    limit: Option<usize>,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    if view.fresh().records() == 0 {
        return Ok(None);
    }
    let rows: Arc<dyn PartitionStream> =
        Arc::new(FreshRows { view: view.clone(), schema: Arc::clone(schema) });
    let plan = StreamingTableExec::try_new(Arc::clone(schema), vec![rows], projection, [], false, limit)?;
    Ok(Some(Arc::new(plan)))
}

struct FreshRows {
    view: TableView,
    schema: SchemaRef,
}

impl std::fmt::Debug for FreshRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FreshRows({})", self.view.table.kind.name())
    }
}

impl PartitionStream for FreshRows {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = self.view.fresh().batches(self.view.table.kind);
        let promoted = Arc::clone(&self.view.table.promoted);
        let batches = batches.map(move |batch| {
            let batch = batch.map_err(|error| DataFusionError::External(Box::new(error)))?;
            Ok(promoted.extend(&batch)?)
        });
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches))
    }
}
