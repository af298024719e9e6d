//! The columns of the tables.

use super::TableKind;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};
use deltalake_core::kernel::{ArrayType, DataType as DeltaType, PrimitiveType, StructField, StructType};
use std::sync::{Arc, LazyLock};

/// The column by which the log's tables are partitioned: the day, in UTC, of `received_at`.
pub(crate) const RECEIVED_DATE: &str = "received_date";

/// The column by which deliveries are partitioned: the day, in UTC, of `at`.
pub(crate) const DATE: &str = "date";

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Text,
    Int,
    Bool,
    /// Microseconds, UTC.
    Time,
    Date,
    Texts,
    Ints,
}

use Type::{Bool, Date, Int, Ints, Text, Texts, Time};

/// A column: its name, its type, and whether every row has a value.
type Column = (&'static str, Type, bool);

const POSITION: [Column; 5] = [
    ("log_partition", Text, true),
    ("log_offset", Int, true),
    ("received_at", Time, true),
    ("source", Text, true),
    ("test", Bool, true),
];

const EVENT: [Column; 13] = [
    ("type", Text, true),
    ("event", Text, false),
    ("message_id", Text, true),
    ("original_message_id", Text, false),
    ("anonymous_id", Text, false),
    ("user_id", Text, false),
    ("group_id", Text, false),
    ("previous_id", Text, false),
    ("name", Text, false),
    ("category", Text, false),
    ("timestamp", Time, true),
    ("original_timestamp", Time, false),
    ("sent_at", Time, false),
];

const JSON: [Column; 6] = [
    ("properties", Text, false),
    ("traits", Text, false),
    ("context", Text, false),
    ("integrations", Text, false),
    ("extra", Text, false),
    ("flags", Text, false),
];

const REJECTED: [Column; 6] = [
    ("code", Text, true),
    ("field", Text, false),
    ("message", Text, true),
    ("message_id", Text, false),
    ("body", Text, false),
    ("body_bytes", Int, true),
];

const RECEIPT: [Column; 5] = [
    ("received", Int, true),
    ("accepted", Int, true),
    ("duplicate", Int, true),
    ("rejected", Int, true),
    ("duplicates", Texts, true),
];

const DELIVERY: [Column; 23] = [
    ("journal", Text, true),
    ("journal_sequence", Int, true),
    ("at", Time, true),
    ("destination", Text, true),
    ("replay", Text, false),
    ("log_partition", Text, true),
    ("first_offset", Int, false),
    ("last_offset", Int, false),
    ("offsets", Ints, true),
    ("events", Int, true),
    ("outcome", Text, true),
    ("trigger", Text, true),
    ("attempt", Int, true),
    ("next_at", Time, false),
    ("class", Text, false),
    ("status", Int, false),
    ("vendor_code", Text, false),
    ("reason", Text, false),
    ("latency_us", Int, false),
    ("request", Int, false),
    ("sent", Text, false),
    ("answered", Text, false),
    ("version", Int, true),
];

/// The promoted values of one object within `context`, or of `context` itself where it has no name.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    /// Each key and its column, named as in Segment's warehouses (Warehouse Schemas, read 2026-11).
    pub(crate) columns: &'static [(&'static str, &'static str, Type)],
}

/// The promoted values of `context`.
pub(crate) const CONTEXT: [Section; 10] = [
    Section {
        name: "",
        columns: &[
            ("ip", "context_ip", Text),
            ("locale", "context_locale", Text),
            ("timezone", "context_timezone", Text),
            ("userAgent", "context_user_agent", Text),
            ("groupId", "context_group_id", Text),
        ],
    },
    Section {
        name: "library",
        columns: &[("name", "context_library_name", Text), ("version", "context_library_version", Text)],
    },
    Section {
        name: "page",
        columns: &[
            ("path", "context_page_path", Text),
            ("url", "context_page_url", Text),
            ("title", "context_page_title", Text),
            ("referrer", "context_page_referrer", Text),
            ("search", "context_page_search", Text),
        ],
    },
    Section {
        name: "campaign",
        columns: &[
            ("name", "context_campaign_name", Text),
            ("source", "context_campaign_source", Text),
            ("medium", "context_campaign_medium", Text),
            ("term", "context_campaign_term", Text),
            ("content", "context_campaign_content", Text),
        ],
    },
    Section {
        name: "app",
        columns: &[
            ("name", "context_app_name", Text),
            ("version", "context_app_version", Text),
            ("build", "context_app_build", Text),
        ],
    },
    Section {
        name: "device",
        columns: &[
            ("id", "context_device_id", Text),
            ("manufacturer", "context_device_manufacturer", Text),
            ("model", "context_device_model", Text),
            ("type", "context_device_type", Text),
        ],
    },
    Section {
        name: "os",
        columns: &[("name", "context_os_name", Text), ("version", "context_os_version", Text)],
    },
    Section { name: "network", columns: &[("carrier", "context_network_carrier", Text)] },
    Section {
        name: "screen",
        columns: &[("width", "context_screen_width", Int), ("height", "context_screen_height", Int)],
    },
    Section { name: "referrer", columns: &[("type", "context_referrer_type", Text)] },
];

/// How many columns `context` fills.
pub(crate) const CONTEXT_COLUMNS: usize = {
    let (mut count, mut section) = (0, 0);
    while section < CONTEXT.len() {
        count += CONTEXT[section].columns.len();
        section += 1;
    }
    count
};

/// The columns with minimum and maximum in the statistics of each file, as far as a table of the log
/// has them.
const STATISTICS: [&str; 10] = [
    "log_partition",
    "log_offset",
    "received_at",
    "source",
    "type",
    "event",
    "message_id",
    "anonymous_id",
    "user_id",
    "timestamp",
];

/// The same of deliveries.
const DELIVERY_STATISTICS: [&str; 10] = [
    "journal",
    "journal_sequence",
    "at",
    "destination",
    "log_partition",
    "first_offset",
    "last_offset",
    "outcome",
    "trigger",
    "class",
];

impl TableKind {
    /// All tables, in the order of [`TableKind::index`].
    const STORED: [Self; 4] = [Self::Events, Self::Rejected, Self::Receipts, Self::Deliveries];

    fn columns(self) -> Vec<Column> {
        let mut columns = if self == Self::Deliveries { Vec::new() } else { POSITION.to_vec() };
        match self {
            Self::Events => {
                columns.extend(EVENT);
                let context = CONTEXT.iter().flat_map(|section| section.columns);
                columns.extend(context.map(|&(_, column, kind)| (column, kind, false)));
                columns.extend(JSON);
            }
            Self::Rejected => columns.extend(REJECTED),
            Self::Receipts => columns.extend(RECEIPT),
            Self::Deliveries => columns.extend(DELIVERY),
        }
        columns.push((self.date_column(), Date, true));
        columns
    }

    /// The column by which the table is partitioned.
    pub(crate) fn date_column(self) -> &'static str {
        if self == Self::Deliveries { DATE } else { RECEIVED_DATE }
    }

    /// The column whose values ascend within a partition, without repeats.
    pub(crate) fn order_column(self) -> &'static str {
        if self == Self::Deliveries { "journal_sequence" } else { "log_offset" }
    }

    /// The columns of a row, the date last: the tables are partitioned by it.
    pub fn schema(self) -> SchemaRef {
        static SCHEMAS: LazyLock<[SchemaRef; 4]> = LazyLock::new(|| TableKind::STORED.map(arrow_schema));
        Arc::clone(&SCHEMAS[self.index()])
    }

    /// The columns within a data file: all but the partition column.
    pub(crate) fn file_schema(self) -> SchemaRef {
        static SCHEMAS: LazyLock<[SchemaRef; 4]> = LazyLock::new(|| {
            TableKind::STORED.map(|kind| {
                let schema = kind.schema();
                let fields: Fields = schema.fields()[..schema.fields().len() - 1].to_vec().into();
                Arc::new(Schema::new(fields))
            })
        });
        Arc::clone(&SCHEMAS[self.index()])
    }

    /// The columns as Delta names them.
    pub(crate) fn delta_fields(self) -> impl Iterator<Item = StructField> {
        self.columns().into_iter().map(|(name, kind, required)| {
            let data_type = match kind {
                Text => DeltaType::STRING,
                Int => DeltaType::LONG,
                Bool => DeltaType::BOOLEAN,
                Time => DeltaType::Primitive(PrimitiveType::Timestamp),
                Date => DeltaType::DATE,
                Texts => ArrayType::new(DeltaType::STRING, false).into(),
                Ints => ArrayType::new(DeltaType::LONG, false).into(),
            };
            StructField::new(name, data_type, !required)
        })
    }

    /// Whether a table has all our columns, with our types; it may have more.
    pub(crate) fn check_delta_schema(self, schema: &str) -> Result<(), String> {
        let schema: StructType =
            serde_json::from_str(schema).map_err(|error| format!("its schema cannot be read: {error}"))?;
        for field in self.delta_fields() {
            let found =
                schema.field(field.name()).ok_or_else(|| format!("it has no column `{}`", field.name()))?;
            if found.data_type() != field.data_type() {
                let (name, found, expected) = (field.name(), found.data_type(), field.data_type());
                return Err(format!("its column `{name}` is `{found}`; it should be `{expected}`"));
            }
        }
        Ok(())
    }

    /// The columns with a Bloom filter, as Parquet's paths.
    pub(crate) fn bloom_columns(self) -> &'static [&'static str] {
        match self {
            Self::Events => &["message_id", "user_id", "anonymous_id"],
            Self::Rejected => &["message_id"],
            Self::Receipts => &["duplicates.list.element"],
            Self::Deliveries => &[],
        }
    }

    /// The columns with minimum and maximum in the statistics of each file.
    pub(crate) fn statistics_columns(self) -> impl Iterator<Item = &'static str> {
        let schema = self.schema();
        let columns = if self == Self::Deliveries { DELIVERY_STATISTICS } else { STATISTICS };
        columns.into_iter().filter(move |name| schema.column_with_name(name).is_some())
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Events => 0,
            Self::Rejected => 1,
            Self::Receipts => 2,
            Self::Deliveries => 3,
        }
    }
}

/// The item of a list of texts; `element` is what Delta and Parquet call it.
pub(crate) fn element() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Utf8, false))
}

/// The item of a list of numbers.
pub(crate) fn number_element() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Int64, false))
}

fn arrow_schema(kind: TableKind) -> SchemaRef {
    let fields: Fields = kind
        .columns()
        .into_iter()
        .map(|(name, kind, required)| {
            let data_type = match kind {
                Text => DataType::Utf8,
                Int => DataType::Int64,
                Bool => DataType::Boolean,
                Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                Date => DataType::Date32,
                Texts => DataType::List(element()),
                Ints => DataType::List(number_element()),
            };
            Field::new(name, data_type, !required)
        })
        .collect();
    Arc::new(Schema::new(fields))
}
