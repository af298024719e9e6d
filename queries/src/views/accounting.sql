WITH frames AS (
    SELECT
        source, log_partition, log_offset, received_at, received, accepted, rejected,
        coalesce(cast(cardinality(duplicates) AS bigint), 0) AS duplicate,
        date_trunc('hour', received_at) AS hour
    FROM receipts
),
removed_events AS (
    SELECT log_partition, first_offset, last_offset FROM holes WHERE table_name = 'events'
),
removed_rejected AS (
    SELECT log_partition, first_offset, last_offset FROM holes WHERE table_name = 'rejected'
),
-- Records follow their receipt a microsecond apart, so a request may reach into the next hour. Its
-- records count where it was received. At most one request of a partition crosses an hour's end.
-- Retention removes whole days, so only of these requests some records may be gone and others not.
crossing AS (
    SELECT
        reaching.log_partition, reaching.hour, reaching.next_hour, reaching.log_offset, reaching.last_offset,
        removed_events.last_offset IS NOT NULL AS events_removed,
        removed_rejected.last_offset IS NOT NULL AS rejected_removed
    FROM (
        SELECT log_partition, hour, log_offset, last_offset, next_hour
        FROM (
            SELECT
                log_partition, hour, log_offset, log_offset + accepted + rejected AS last_offset,
                date_trunc('hour', to_timestamp_micros(cast(received_at AS bigint) + accepted + rejected)) AS next_hour
            FROM frames
        )
        WHERE cast(next_hour AS bigint) > cast(hour AS bigint)
    ) AS reaching
    LEFT JOIN removed_events
        ON removed_events.log_partition = reaching.log_partition
        AND removed_events.first_offset <= reaching.last_offset
        AND removed_events.last_offset > reaching.log_offset
    LEFT JOIN removed_rejected
        ON removed_rejected.log_partition = reaching.log_partition
        AND removed_rejected.first_offset <= reaching.last_offset
        AND removed_rejected.last_offset > reaching.log_offset
),
records AS (
    SELECT source, log_partition, log_offset, date_trunc('hour', received_at) AS hour, 1 AS accepted, 0 AS rejected
    FROM events
    UNION ALL
    SELECT source, log_partition, log_offset, date_trunc('hour', received_at) AS hour, 0 AS accepted, 1 AS rejected
    FROM rejected
),
counted AS (
    SELECT
        records.source, coalesce(crossing.hour, records.hour) AS hour, records.accepted, records.rejected,
        CASE WHEN crossing.events_removed THEN records.accepted ELSE 0 END AS accepted_left,
        CASE WHEN crossing.rejected_removed THEN records.rejected ELSE 0 END AS rejected_left
    FROM crossing RIGHT JOIN records
        ON crossing.log_partition = records.log_partition
        AND cast(crossing.next_hour AS bigint) = cast(records.hour AS bigint)
        AND records.log_offset > crossing.log_offset
        AND records.log_offset <= crossing.last_offset
),
-- What receipts promise of requests that lost records. What is left of such a request is taken off again.
expired AS (
    SELECT frames.source, frames.hour, frames.accepted AS accepted_expired, 0 AS rejected_expired
    FROM frames JOIN removed_events
        ON removed_events.log_partition = frames.log_partition
        AND removed_events.first_offset <= frames.log_offset + frames.accepted + frames.rejected
        AND removed_events.last_offset > frames.log_offset
    UNION ALL
    SELECT frames.source, frames.hour, 0 AS accepted_expired, frames.rejected AS rejected_expired
    FROM frames JOIN removed_rejected
        ON removed_rejected.log_partition = frames.log_partition
        AND removed_rejected.first_offset <= frames.log_offset + frames.accepted + frames.rejected
        AND removed_rejected.last_offset > frames.log_offset
),
parts AS (
    SELECT
        source, hour, received, 0 AS accepted, duplicate, 0 AS rejected, 0 AS accepted_expired, 0 AS rejected_expired
    FROM frames
    UNION ALL
    SELECT
        source, hour, 0 AS received, accepted, 0 AS duplicate, rejected, -accepted_left AS accepted_expired,
        -rejected_left AS rejected_expired
    FROM counted
    UNION ALL
    SELECT
        source, hour, 0 AS received, 0 AS accepted, 0 AS duplicate, 0 AS rejected, accepted_expired, rejected_expired
    FROM expired
)
SELECT
    source, hour,
    sum(received) AS received, sum(accepted) AS accepted, sum(duplicate) AS duplicate, sum(rejected) AS rejected,
    sum(accepted_expired) AS accepted_expired, sum(rejected_expired) AS rejected_expired,
    sum(received) - sum(accepted) - sum(duplicate) - sum(rejected) - sum(accepted_expired) - sum(rejected_expired)
        AS unaccounted
FROM parts
GROUP BY source, hour
