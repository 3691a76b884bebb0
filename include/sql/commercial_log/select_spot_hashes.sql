-- Grain: one row per spot of the given months, in no order. Reads: spots. Writes: nothing.
-- Params: :months (JSON array). Re-run: safe.
SELECT spot_id, row_hash
FROM spots
WHERE broadcast_month IN (SELECT value FROM json_each(:months))
