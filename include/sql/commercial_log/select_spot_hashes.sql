-- Grain: one row per spot of the given months, oldest first, those before all others whose language a person decided:
-- of equal spots the first are kept. Reads: spots, spot_language_assignments. Writes: nothing.
-- Params: :months (JSON array). Re-run: safe.
SELECT
    s.spot_id,
    s.row_hash,
    iif(a.spot_id IS NULL, NULL, s.bill_code) AS decided_bill_code
FROM spots AS s
LEFT JOIN spot_language_assignments AS a ON a.spot_id = s.spot_id AND a.assignment_method = 'manual_override'
WHERE s.broadcast_month IN (SELECT value FROM json_each(:months))
ORDER BY a.spot_id IS NULL, s.spot_id
