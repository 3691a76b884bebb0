-- What the music extract holds, without anything about a single subscriber (R65).
-- Grain: one row. Reads: subscriptions. Writes: nothing. Params: $cpcs (the music CPCs). Re-run: read only.
WITH everything AS (
    SELECT count(*) AS subscriptions FROM subscriptions
)

SELECT
    count(*) AS subscriptions,
    (SELECT subscriptions FROM everything) AS all_subscriptions,
    count(DISTINCT tmuserid) AS distinct_users,
    count(DISTINCT msisdn) AS distinct_phones,
    count(*) FILTER (WHERE subscription_status = 'Active') AS active,
    count(deactivation_date) AS with_deactivation_date,
    count(cancellation_date) AS with_cancellation_date,
    coalesce(sum(total_revenue::DECIMAL(18, 6)), 0)::DOUBLE AS revenue,
    coalesce(sum(renewal_count), 0)::BIGINT AS renewals,
    min(activation_date)::VARCHAR AS first_activation,
    max(activation_date)::VARCHAR AS last_activation
FROM subscriptions
WHERE list_has_any(cpc_list, $cpcs::BIGINT [])
