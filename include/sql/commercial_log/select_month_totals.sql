-- Grain: one row per given month: spots and the sum of their gross rate. Reads: spots. Writes: nothing.
-- Params: :months (JSON array). Re-run: safe.
SELECT broadcast_month, count(*), coalesce(sum(gross_rate), 0.0)
FROM spots
WHERE broadcast_month IN (SELECT value FROM json_each(:months))
GROUP BY broadcast_month
