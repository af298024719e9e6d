WITH frames AS (
    SELECT
        source, log_partition, log_offset, received_at, received, accepted, rejected,
        coalesce(cast(cardinality(duplicates) AS bigint), 0) AS duplicate,
        date_trunc('hour', received_at) AS hour
    FROM receipts
),
-- Records follow their receipt a microsecond apart, so a request may reach into the next hour. Its
-- records count where it was received. At most one request of a partition crosses an hour's end.
crossing AS (
    SELECT log_partition, hour, next_hour, log_offset, last_offset
    FROM (
        SELECT
            log_partition, hour, log_offset, log_offset + accepted + rejected AS last_offset,
            date_trunc('hour', to_timestamp_micros(cast(received_at AS bigint) + accepted + rejected)) AS next_hour
        FROM frames
    )
    WHERE cast(next_hour AS bigint) > cast(hour AS bigint)
),
records AS (
    SELECT source, log_partition, log_offset, date_trunc('hour', received_at) AS hour, 1 AS accepted, 0 AS rejected
    FROM events
    UNION ALL
    SELECT source, log_partition, log_offset, date_trunc('hour', received_at) AS hour, 0 AS accepted, 1 AS rejected
    FROM rejected
),
counted AS (
    SELECT records.source, coalesce(crossing.hour, records.hour) AS hour, records.accepted, records.rejected
    FROM crossing RIGHT JOIN records
        ON crossing.log_partition = records.log_partition
        AND cast(crossing.next_hour AS bigint) = cast(records.hour AS bigint)
        AND records.log_offset > crossing.log_offset
        AND records.log_offset <= crossing.last_offset
),
parts AS (
    SELECT source, hour, received, 0 AS accepted, duplicate, 0 AS rejected FROM frames
    UNION ALL
    SELECT source, hour, 0 AS received, accepted, 0 AS duplicate, rejected FROM counted
)
SELECT
    source, hour,
    sum(received) AS received, sum(accepted) AS accepted, sum(duplicate) AS duplicate, sum(rejected) AS rejected,
    sum(received) - sum(accepted) - sum(duplicate) - sum(rejected) AS unaccounted
FROM parts
GROUP BY source, hour
