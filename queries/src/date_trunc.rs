//! `date_trunc`, fast in UTC, and comparable without reading every row.

use arrow::array::{Array, ArrayRef, make_array};
use arrow::datatypes::{DataType, FieldRef, TimeUnit};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions::datetime::date_trunc::DateTruncFunc;
use datafusion::logical_expr::interval_arithmetic::Interval;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Documentation, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs,
    ScalarUDFImpl, Signature,
};
use std::sync::Arc;

/// DataFusion's `date_trunc` with two additions; the answers are the same.
///
/// Times in UTC are truncated as those without a zone are: DataFusion 55.2 asks the rules of the zone
/// for each row. And a comparison with a literal becomes one of the time itself, so that files and row
/// groups outside of it are not read:
/// `date_trunc('hour', t) = '10:00'` is `t >= '10:00' AND t < '11:00'`.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct DateTrunc(DateTruncFunc);

impl ScalarUDFImpl for DateTrunc {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn aliases(&self) -> &[String] {
        self.0.aliases()
    }

    fn signature(&self) -> &Signature {
        self.0.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.0.return_type(arguments)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        self.0.return_field_from_args(arguments)
    }

    fn invoke_with_args(&self, mut call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (unit, zone) = match call.args.get(1) {
            Some(ColumnarValue::Array(times)) => match times.data_type() {
                DataType::Timestamp(unit, Some(zone)) if is_utc(zone) => (*unit, Arc::clone(zone)),
                _ => return self.0.invoke_with_args(call),
            },
            _ => return self.0.invoke_with_args(call),
        };
        for argument in &mut call.args[1..] {
            if let ColumnarValue::Array(times) = argument {
                *times = labelled(times, DataType::Timestamp(unit, None))?;
            }
        }
        match self.0.invoke_with_args(call)? {
            ColumnarValue::Array(times) => {
                Ok(ColumnarValue::Array(labelled(&times, DataType::Timestamp(unit, Some(zone)))?))
            }
            scalar => Ok(scalar),
        }
    }

    fn preimage(
        &self,
        arguments: &[Expr],
        literal: &Expr,
        context: &SimplifyContext,
    ) -> Result<PreimageResult> {
        let [precision, time] = arguments else { return Ok(PreimageResult::None) };
        let (time, shift) = without_shift(time);
        let (DataType::Timestamp(unit, zone), Some(precision), Some(literal)) =
            (context.get_data_type(time)?, text(precision), literal.as_literal())
        else {
            return Ok(PreimageResult::None);
        };
        let bounds = ticks(literal, unit, zone.as_deref())
            .and_then(|literal| bounds(&precision, unit, literal))
            .and_then(|bounds| shifted(bounds, shift, unit));
        let Some((first, end)) = bounds else { return Ok(PreimageResult::None) };
        let scalar = |ticks: i64| timestamp(ticks, unit, zone.clone());
        let interval = Box::new(Interval::try_new(scalar(first), scalar(end))?);
        Ok(PreimageResult::Range { expr: time.clone(), interval })
    }

    fn output_ordering(&self, input: &[ExprProperties]) -> Result<SortProperties> {
        self.0.output_ordering(input)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.0.documentation()
    }
}

fn is_utc(zone: &str) -> bool {
    matches!(zone, "UTC" | "+00:00")
}

/// The same values as another type of the same width.
fn labelled(times: &ArrayRef, kind: DataType) -> Result<ArrayRef> {
    Ok(make_array(times.to_data().into_builder().data_type(kind).build()?))
}

fn text(literal: &Expr) -> Option<String> {
    literal.as_literal()?.try_as_str()?.map(str::to_lowercase)
}

/// `time` of `time + INTERVAL …` and of `time - INTERVAL …`, and the interval in ns; of anything else
/// itself and zero.
fn without_shift(time: &Expr) -> (&Expr, i64) {
    let shift = |interval: &Expr| match interval.as_literal()? {
        // A month has no fixed length.
        ScalarValue::IntervalMonthDayNano(Some(interval)) if interval.months == 0 => {
            i64::from(interval.days).checked_mul(DAY * NANOS)?.checked_add(interval.nanoseconds)
        }
        _ => None,
    };
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = time else { return (time, 0) };
    let shift = match op {
        Operator::Plus => shift(right),
        Operator::Minus => shift(right).and_then(i64::checked_neg),
        _ => None,
    };
    shift.map_or((time, 0), |shift| (left, shift))
}

/// A literal as a number of units since 1970, if it is of this type, in UTC or without any zone.
fn ticks(literal: &ScalarValue, unit: TimeUnit, zone: Option<&str>) -> Option<i64> {
    let (ticks, its_unit, its_zone) = match literal {
        ScalarValue::TimestampSecond(ticks, zone) => (ticks, TimeUnit::Second, zone),
        ScalarValue::TimestampMillisecond(ticks, zone) => (ticks, TimeUnit::Millisecond, zone),
        ScalarValue::TimestampMicrosecond(ticks, zone) => (ticks, TimeUnit::Microsecond, zone),
        ScalarValue::TimestampNanosecond(ticks, zone) => (ticks, TimeUnit::Nanosecond, zone),
        _ => return None,
    };
    (its_unit == unit && its_zone.as_deref() == zone && zone.is_none_or(is_utc)).then_some(*ticks)?
}

fn timestamp(ticks: i64, unit: TimeUnit, zone: Option<Arc<str>>) -> ScalarValue {
    match unit {
        TimeUnit::Second => ScalarValue::TimestampSecond(Some(ticks), zone),
        TimeUnit::Millisecond => ScalarValue::TimestampMillisecond(Some(ticks), zone),
        TimeUnit::Microsecond => ScalarValue::TimestampMicrosecond(Some(ticks), zone),
        TimeUnit::Nanosecond => ScalarValue::TimestampNanosecond(Some(ticks), zone),
    }
}

/// A day, in seconds.
const DAY: i64 = 86_400;

/// A second, in ns.
const NANOS: i64 = 1_000_000_000;

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => NANOS,
    }
}

/// From where on and up to where times are truncated to `literal`; to none, at the next time that
/// something is truncated to, where `literal` is not such a time itself. `None` for precisions without a
/// fixed length, and beyond what the unit can count.
fn bounds(precision: &str, unit: TimeUnit, literal: i64) -> Option<(i64, i64)> {
    let seconds = match precision {
        "second" => 1,
        "minute" => 60,
        "hour" => 3_600,
        "day" => DAY,
        _ => return None,
    };
    let length = per_second(unit) * seconds;
    match literal.rem_euclid(length) {
        0 => Some((literal, literal.checked_add(length)?)),
        rest => {
            let next = literal.checked_add(length - rest)?;
            Some((next, next))
        }
    }
}

/// The bounds of `time` where those of `time + shift` are given.
fn shifted((first, end): (i64, i64), shift: i64, unit: TimeUnit) -> Option<(i64, i64)> {
    let tick = NANOS / per_second(unit);
    let shift = (shift % tick == 0).then_some(shift / tick)?;
    Some((first.checked_sub(shift)?, end.checked_sub(shift)?))
}

#[cfg(test)]
mod tests;
