-- Grain: one row per given spot whose language a person decided, with its bill code.
-- Reads: spot_language_assignments, spots. Writes: nothing. Params: :spot_ids (JSON array). Re-run: safe.
SELECT s.spot_id, s.bill_code
FROM spots AS s
INNER JOIN spot_language_assignments AS a ON a.spot_id = s.spot_id
WHERE
    s.spot_id IN (SELECT value FROM json_each(:spot_ids))
    AND a.assignment_method = 'manual_override'
