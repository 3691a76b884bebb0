-- Grain: one row per language code in the sheet that means no language, whatever its case, dearest first.
-- Reads: spot_language_assignments, spots. Writes: nothing. Params: none. Re-run: read only.
SELECT
    upper(a.language_code) AS code,
    count(*) AS spots,
    total(s.gross_rate) AS gross_sum,
    avg(s.gross_rate) AS gross_average
FROM spot_language_assignments AS a
INNER JOIN spots AS s ON s.spot_id = a.spot_id
WHERE a.requires_review = 1
    AND a.language_status = 'invalid'
    AND (s.revenue_type <> 'Trade' OR s.revenue_type IS NULL)
GROUP BY upper(a.language_code)
ORDER BY gross_sum DESC, code
