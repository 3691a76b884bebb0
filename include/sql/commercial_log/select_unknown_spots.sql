-- Grain: one row per given id that is no spot. Reads: spots. Writes: nothing.
-- Params: :spot_ids (JSON array). Re-run: read only.
SELECT value
FROM json_each(:spot_ids)
WHERE NOT EXISTS (SELECT 1 FROM spots WHERE spots.spot_id = json_each.value)
ORDER BY value
