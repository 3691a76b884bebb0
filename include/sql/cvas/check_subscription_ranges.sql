-- First and last moment of the view's dates (R62).
-- Grain: two rows, first and last. Reads: subscriptions (the view). Writes: nothing.
-- Params: $dates (names of columns). Re-run: read only.
SELECT min(COLUMNS($dates))
FROM subscriptions
UNION ALL
SELECT max(COLUMNS($dates))
FROM subscriptions
