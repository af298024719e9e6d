WITH seen AS (
    SELECT type, user_id, anonymous_id, previous_id, traits, timestamp, received_at, log_partition
    FROM events
    WHERE NOT test
),
links AS (
    SELECT user_id, anonymous_id FROM seen
    WHERE type = 'identify' AND user_id IS NOT NULL AND anonymous_id IS NOT NULL
    UNION
    SELECT user_id, previous_id AS anonymous_id FROM seen
    WHERE type = 'alias' AND user_id IS NOT NULL AND previous_id IS NOT NULL
        AND previous_id NOT IN (SELECT user_id FROM seen WHERE user_id IS NOT NULL)
),
owned AS (
    SELECT anonymous_id, min(user_id) AS user_id FROM links GROUP BY anonymous_id HAVING count(*) = 1
),
activity AS (
    SELECT
        coalesce(seen.user_id, owned.user_id) AS user_id,
        CASE WHEN seen.type = 'identify' THEN seen.traits END AS traits,
        seen.timestamp, seen.received_at, seen.log_partition
    FROM owned RIGHT JOIN seen
        ON owned.anonymous_id = CASE WHEN seen.user_id IS NULL THEN seen.anonymous_id END
    WHERE coalesce(seen.user_id, owned.user_id) IS NOT NULL
),
folded AS (
    SELECT
        user_id, traits_fold(traits, cast(timestamp AS bigint), cast(received_at AS bigint), log_partition) AS traits,
        min(timestamp) AS first_seen, max(timestamp) AS last_seen, count(*) AS events
    FROM activity
    GROUP BY user_id
),
ids AS (
    SELECT user_id, array_agg(anonymous_id ORDER BY anonymous_id) AS anonymous_ids FROM links GROUP BY user_id
)
SELECT
    folded.user_id, ids.anonymous_ids,
    json_get_str(folded.traits, 'email') AS email, json_get_str(folded.traits, 'name') AS name,
    folded.traits, folded.first_seen, folded.last_seen, folded.events
FROM folded LEFT JOIN ids ON folded.user_id = ids.user_id
