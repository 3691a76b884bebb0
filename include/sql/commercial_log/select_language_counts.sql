-- Grain: one row per assignment method among the non-Trade spots of the months: how many.
-- Spots without category or assignment come as method null. Reads: spots, spot_language_assignments. Writes: nothing.
-- Params: :months (JSON array). Re-run: safe.
SELECT iif(s.spot_category IS NULL, NULL, a.assignment_method), count(*)
FROM spots AS s
LEFT JOIN spot_language_assignments AS a ON a.spot_id = s.spot_id
WHERE
    s.broadcast_month IN (SELECT value FROM json_each(:months))
    AND coalesce(lower(trim(s.revenue_type)), '') <> 'trade'
GROUP BY 1
