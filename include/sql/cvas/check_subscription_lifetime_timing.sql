-- How long averaging the lifetime by status takes (R62).
-- Grain: one row per status. Reads: subscriptions (the view). Writes: nothing. Params: none.
-- Re-run: read only.
SELECT
    subscription_status,
    avg(lifetime_days) AS average_lifetime_days
FROM subscriptions
GROUP BY subscription_status
