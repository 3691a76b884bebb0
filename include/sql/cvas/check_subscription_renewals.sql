-- Subscriptions by the month of their last renewal, with all their renewals (R62); revenue in euro.
-- Grain: one row per month. Reads: subscriptions (the view). Writes: nothing.
-- Params: $first_month (YYYY-MM). Re-run: read only.
SELECT
    strftime(last_renewal_date, '%Y-%m') AS month,
    count(*) AS subscriptions,
    sum(renewal_count)::BIGINT AS renewals,
    round(sum(renewal_revenue), 2) AS revenue
FROM subscriptions
WHERE month >= $first_month
GROUP BY month
ORDER BY month
