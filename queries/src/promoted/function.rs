//! Functions that stand in plans; nobody calls them by name.

use arrow::datatypes::{DataType, Field};
use datafusion::common::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExpressionPlacement, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion_functions_json::udfs::json_as_text_udf;
use pipeline::log::table::promoted::value_text;
use std::sync::{Arc, LazyLock};

/// The types to which text out of JSON is cast by one function, with its name.
const CASTS: [(&str, DataType); 3] = [
    ("json_as_double", DataType::Float64),
    ("json_as_bigint", DataType::Int64),
    ("json_as_boolean", DataType::Boolean),
];

/// `TRY_CAST(json_as_text(json, key …) AS type)` as one call, so that a scan gets all of it and can
/// use a column of that type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonAs {
    name: &'static str,
    data_type: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for JsonAs {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        args.return_field = Arc::new(Field::new("text", DataType::Utf8, true));
        let text = json_as_text_udf().invoke_with_args(args)?;
        text.cast_to(&self.data_type, Some(&arrow::compute::CastOptions::default()))
    }

    fn placement(&self, args: &[ExpressionPlacement]) -> ExpressionPlacement {
        json_as_text_udf().placement(args)
    }
}

/// The call that casts `text`, a call of `json_as_text`, to one of [`CASTS`]; `None` for other types.
pub(crate) fn as_type(text: &ScalarFunction, data_type: &DataType) -> Option<Expr> {
    static FUNCTIONS: LazyLock<[Arc<ScalarUDF>; 3]> = LazyLock::new(|| {
        CASTS.map(|(name, data_type)| {
            let signature = Signature::variadic_any(Volatility::Immutable);
            Arc::new(ScalarUDF::from(JsonAs { name, data_type, signature }))
        })
    });
    let at = CASTS.iter().position(|(_, known)| known == data_type)?;
    let call = ScalarFunction::new_udf(Arc::clone(&FUNCTIONS[at]), text.args.clone());
    (text.func.name() == "json_as_text").then_some(Expr::ScalarFunction(call))
}

/// The type that a call made by [`as_type`] casts to.
pub(super) fn cast_type(function: &ScalarUDF) -> Option<&'static DataType> {
    CASTS.iter().find(|(name, _)| *name == function.name()).map(|(_, data_type)| data_type)
}

/// The text of a promoted column's values, see [`value_text`].
#[derive(Debug, PartialEq, Eq, Hash)]
struct TextOf {
    signature: Signature,
}

impl ScalarUDFImpl for TextOf {
    fn name(&self) -> &'static str {
        "promoted_text"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let values = ColumnarValue::values_to_arrays(&args.args)?;
        let [values] = values.as_slice() else {
            return Err(DataFusionError::Internal("`promoted_text` takes one column".into()));
        };
        Ok(ColumnarValue::Array(Arc::new(value_text(values)?)))
    }
}

pub(super) fn text_of() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        Arc::new(ScalarUDF::from(TextOf { signature: Signature::any(1, Volatility::Immutable) }))
    });
    Arc::clone(&FUNCTION)
}
