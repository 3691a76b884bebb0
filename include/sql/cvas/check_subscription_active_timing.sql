-- How long counting the active subscriptions takes (R62).
-- Grain: one row. Reads: subscriptions (the view). Writes: nothing. Params: none. Re-run: read only.
SELECT count(*) AS active
FROM subscriptions
WHERE subscription_status = 'Active'
