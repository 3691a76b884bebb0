-- Subscriptions by the month of their deactivation (R62).
-- Grain: one row per month. Reads: subscriptions (the view). Writes: nothing.
-- Params: $first_month (YYYY-MM). Re-run: read only.
SELECT
    strftime(deactivation_date, '%Y-%m') AS month,
    count(*) AS subscriptions,
    count(DISTINCT deactivation_mode) AS modes,
    round(avg(lifetime_days), 1) AS average_lifetime_days
FROM subscriptions
WHERE month >= $first_month
GROUP BY month
ORDER BY month
