-- The subscriptions that were new in a month (R51). Grain: one row per activation month, the newest first.
-- Reads: subscriptions (the view). Writes: nothing. Params: $last (how many). Re-run: read only.
SELECT
    activation_month AS month,
    count(*) AS subscriptions,
    sum(total_revenue::DECIMAL(18, 6))::DOUBLE AS revenue,
    count(*) FILTER (WHERE has_upgraded) AS upgraded
FROM subscriptions
WHERE activation_month IS NOT NULL
GROUP BY activation_month
ORDER BY month DESC
LIMIT $last
