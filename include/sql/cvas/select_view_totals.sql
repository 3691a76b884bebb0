-- The view in one row (R51). Grain: one row. Reads: subscriptions (the view). Writes: nothing. Params: none.
-- Re-run: read only.
SELECT
    count(*) AS subscriptions,
    coalesce(sum(total_revenue::DECIMAL(18, 6)), 0)::DOUBLE AS revenue,
    round(avg(total_revenue::DECIMAL(18, 6)), 2) AS average_revenue,
    coalesce(sum(renewal_count), 0)::BIGINT AS renewals,
    round(avg(lifetime_days), 2) AS average_lifetime,
    round(avg(missing_act_record::INTEGER), 4) AS missing_activation_share,
    count(*) FILTER (WHERE lifetime_days < 0) AS negative_lifetimes
FROM subscriptions
