-- The days on which something happened last, or for the first time, to any subscription (R62).
-- Grain: one row per event and day, oldest first. Reads: subscriptions (the view). Writes: nothing.
-- Params: none. Re-run: read only.
SELECT DISTINCT
    event,
    moment::DATE AS day
FROM (
    UNPIVOT (
        SELECT
            activation_date AS activation,
            last_renewal_date AS last_renewal,
            deactivation_date AS deactivation,
            cancellation_date AS cancellation
        FROM subscriptions
    )
    ON activation, last_renewal, deactivation, cancellation
    INTO NAME event VALUE moment
)
ORDER BY event, day
