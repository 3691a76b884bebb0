-- Subscriptions as the view tells them (R66).
-- Grain: one row per subscription, by id; all columns. Reads: subscriptions. Writes: nothing. Params: $subscriptions
-- (ids). Re-run: read only.
SELECT * FROM subscriptions WHERE subscription_id IN (SELECT unnest($subscriptions::BIGINT [])) ORDER BY subscription_id
