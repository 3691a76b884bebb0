-- How long finding the ten commonest first price points takes (R62).
-- Grain: one row per cpc, ten. Reads: subscriptions (the view). Writes: nothing. Params: none.
-- Re-run: read only.
SELECT
    first_cpc,
    count(*) AS subscriptions
FROM subscriptions
GROUP BY first_cpc
ORDER BY subscriptions DESC, first_cpc
LIMIT 10
