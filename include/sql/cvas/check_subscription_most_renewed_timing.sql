-- How long finding the ten subscriptions renewed most often takes (R62); who they are of is not asked (R5).
-- Grain: one row per subscription, ten. Reads: subscriptions (the view). Writes: nothing. Params: none.
-- Re-run: read only.
SELECT
    subscription_id,
    renewal_count,
    renewal_revenue
FROM subscriptions
ORDER BY renewal_count DESC, subscription_id
LIMIT 10
