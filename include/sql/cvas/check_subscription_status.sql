-- How many subscriptions are active, deactivated, cancelled (R62).
-- Grain: one row per status. Reads: subscriptions (the view). Writes: nothing. Params: none.
-- Re-run: read only.
SELECT
    subscription_status AS status,
    count(*) AS subscriptions,
    round(100 * count(*) / sum(count(*)) OVER (), 2) AS percent
FROM subscriptions
GROUP BY subscription_status
ORDER BY subscription_status
