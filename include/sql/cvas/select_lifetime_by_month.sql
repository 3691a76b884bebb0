-- How long subscriptions last and what they bring, per service and month of activation (section 7).
-- Grain: one row per (service_name, tme_category, activation_month), in this order. Reads: subscriptions.
-- Writes: nothing. Params: none. Re-run: read only.
-- A subscription without an activation date has no lifetime and is left out of that average only.
SELECT
    service_name,
    nullif(tme_category, '') AS tme_category,
    activation_month,
    count(*) AS subscriptions,
    round(avg(lifetime_days), 2) AS average_lifetime_days,
    round(sum(total_revenue_with_upgrade::DECIMAL(18, 6))::DOUBLE / count(*), 2) AS average_revenue_with_upgrade
FROM subscriptions
GROUP BY ALL
ORDER BY service_name, tme_category NULLS FIRST, activation_month NULLS LAST
