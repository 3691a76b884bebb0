-- Grain: one row per assignment method among the non-Trade spots of the months: how many.
-- Spots without category or assignment, or without the id of a language that is known, come as method null.
-- Reads: spots, spot_language_assignments, languages. Writes: nothing. Params: :months (JSON array). Re-run: safe.
SELECT
    CASE
        WHEN s.spot_category IS NULL THEN NULL
        WHEN s.language_id IS NULL AND upper(a.language_code) IN (SELECT upper(language_code) FROM languages) THEN NULL
        ELSE a.assignment_method
    END,
    count(*)
FROM spots AS s
LEFT JOIN spot_language_assignments AS a ON a.spot_id = s.spot_id
WHERE
    s.broadcast_month IN (SELECT value FROM json_each(:months))
    AND (s.revenue_type <> 'Trade' OR s.revenue_type IS NULL)
GROUP BY 1
