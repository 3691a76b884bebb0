-- How long counting the activations of the last seven days takes (R62).
-- Grain: one row per day. Reads: subscriptions (the view). Writes: nothing.
-- Params: $until (the last day). Re-run: read only.
SELECT
    activation_date::DATE AS day,
    count(*) AS subscriptions
FROM subscriptions
WHERE activation_date >= $until::DATE - 6 AND activation_date < $until::DATE + 1
GROUP BY day
ORDER BY day
