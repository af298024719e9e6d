SELECT
    at, destination, replay, log_partition,
    -- What a destination missed is known as a number only.
    unnest(CASE WHEN outcome = 'missed' THEN make_array(CAST(NULL AS bigint)) ELSE offsets END) AS log_offset,
    outcome, "trigger", attempt, next_at, class, status, vendor_code, reason, latency_us, request, sent, answered,
    version, date
FROM delivery_records
