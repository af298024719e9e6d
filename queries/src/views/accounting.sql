-- Each part is summed up for itself before they are put together, so that no row is copied, and a
-- condition on `hour` or `source` reaches the files of every part.
WITH frames AS (
    SELECT
        source, log_partition, log_offset, log_offset + accepted + rejected AS last_offset, received_at,
        received, accepted, rejected
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
        SELECT
            log_partition, log_offset, last_offset, date_trunc('hour', received_at) AS hour,
            date_trunc('hour', received_at + INTERVAL '1 hour') AS next_hour
        FROM frames
        WHERE cast(received_at AS bigint) % 3600000000 + accepted + rejected >= 3600000000
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
-- What such a request can have in its next hour: ingest takes 100,000 items of a request, which are 0.1 s.
first_of_hour AS (
    SELECT
        source, log_partition, log_offset, date_trunc('hour', received_at) AS hour,
        date_trunc('hour', received_at - INTERVAL '1 hour') AS hour_before, 1 AS accepted, 0 AS rejected
    FROM events
    WHERE cast(received_at AS bigint) % 3600000000 < 1000000
    UNION ALL
    SELECT
        source, log_partition, log_offset, date_trunc('hour', received_at) AS hour,
        date_trunc('hour', received_at - INTERVAL '1 hour') AS hour_before, 0 AS accepted, 1 AS rejected
    FROM rejected
    WHERE cast(received_at AS bigint) % 3600000000 < 1000000
),
parts AS (
    SELECT
        source, date_trunc('hour', received_at) AS hour, sum(received) AS received, 0 AS accepted,
        sum(coalesce(cast(cardinality(duplicates) AS bigint), 0)) AS duplicate, 0 AS rejected,
        0 AS accepted_expired, 0 AS rejected_expired
    FROM receipts
    GROUP BY source, date_trunc('hour', received_at)
    UNION ALL
    SELECT
        source, date_trunc('hour', received_at) AS hour, 0 AS received, count(*) AS accepted,
        0 AS duplicate, 0 AS rejected, 0 AS accepted_expired, 0 AS rejected_expired
    FROM events
    GROUP BY source, date_trunc('hour', received_at)
    UNION ALL
    SELECT
        source, date_trunc('hour', received_at) AS hour, 0 AS received, 0 AS accepted,
        0 AS duplicate, count(*) AS rejected, 0 AS accepted_expired, 0 AS rejected_expired
    FROM rejected
    GROUP BY source, date_trunc('hour', received_at)
    UNION ALL
    -- Records that belong to the hour before come to it …
    SELECT
        records.source, crossing.hour, 0 AS received, records.accepted, 0 AS duplicate, records.rejected,
        CASE WHEN crossing.events_removed THEN -records.accepted ELSE 0 END AS accepted_expired,
        CASE WHEN crossing.rejected_removed THEN -records.rejected ELSE 0 END AS rejected_expired
    FROM crossing JOIN first_of_hour AS records
        ON crossing.log_partition = records.log_partition
        AND crossing.hour = records.hour_before
        AND records.log_offset > crossing.log_offset
        AND records.log_offset <= crossing.last_offset
    UNION ALL
    -- … and leave the one they lie in.
    SELECT
        records.source, records.hour, 0 AS received, -records.accepted, 0 AS duplicate, -records.rejected,
        0 AS accepted_expired, 0 AS rejected_expired
    FROM crossing JOIN first_of_hour AS records
        ON crossing.log_partition = records.log_partition
        AND crossing.next_hour = records.hour
        AND records.log_offset > crossing.log_offset
        AND records.log_offset <= crossing.last_offset
    UNION ALL
    -- What receipts promise of requests that lost records. What is left of such a request was taken off
    -- where it came to its hour.
    SELECT
        frames.source, date_trunc('hour', frames.received_at) AS hour, 0 AS received, 0 AS accepted,
        0 AS duplicate, 0 AS rejected, frames.accepted AS accepted_expired, 0 AS rejected_expired
    FROM frames JOIN removed_events
        ON removed_events.log_partition = frames.log_partition
        AND removed_events.first_offset <= frames.last_offset
        AND removed_events.last_offset > frames.log_offset
    UNION ALL
    SELECT
        frames.source, date_trunc('hour', frames.received_at) AS hour, 0 AS received, 0 AS accepted,
        0 AS duplicate, 0 AS rejected, 0 AS accepted_expired, frames.rejected AS rejected_expired
    FROM frames JOIN removed_rejected
        ON removed_rejected.log_partition = frames.log_partition
        AND removed_rejected.first_offset <= frames.last_offset
        AND removed_rejected.last_offset > frames.log_offset
)
SELECT
    source, hour,
    sum(received) AS received, sum(accepted) AS accepted, sum(duplicate) AS duplicate, sum(rejected) AS rejected,
    sum(accepted_expired) AS accepted_expired, sum(rejected_expired) AS rejected_expired,
    sum(received) - sum(accepted) - sum(duplicate) - sum(rejected) - sum(accepted_expired) - sum(rejected_expired)
        AS unaccounted
FROM parts
GROUP BY source, hour
-- An hour whose only records belong to the one before has none of its own.
HAVING sum(received) <> 0 OR sum(accepted) <> 0 OR sum(rejected) <> 0
