SELECT
    at, destination, replay, log_partition, unnest(offsets) AS log_offset, outcome, "trigger", attempt, next_at,
    class, status, vendor_code, reason, latency_us, request, sent, answered, version, date
FROM delivery_records
