-- How the subscriptions divide by status, by their number of price points and by upgrade (R51).
-- Grain: one row per value of one of the three; the other two are null. Reads: subscriptions (the view).
-- Writes: nothing. Params: none. Re-run: read only.
SELECT
    subscription_status,
    cpc_count,
    has_upgraded,
    count(*) AS subscriptions,
    round(avg(total_revenue::DECIMAL(18, 6)), 2) AS average_revenue
FROM subscriptions
GROUP BY GROUPING SETS (subscription_status, cpc_count, has_upgraded)
ORDER BY ALL
