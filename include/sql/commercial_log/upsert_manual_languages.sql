-- Grain: one row per given spot: the language a person decided on. A decision that stands already is left alone.
-- Reads: nothing else.
-- Writes: spot_language_assignments. Params: :spot_ids (JSON array), :code (upper case), :notes, :now (UTC).
-- Re-run: safe.
INSERT INTO spot_language_assignments (
    spot_id, language_code, language_status, confidence, assignment_method, assigned_date, requires_review, notes
)
SELECT value, :code, 'determined', 1.0, 'manual_override', :now, 0, :notes
FROM json_each(:spot_ids)
WHERE true
ON CONFLICT (spot_id) DO UPDATE SET
language_code = excluded.language_code,
language_status = excluded.language_status,
confidence = excluded.confidence,
assignment_method = excluded.assignment_method,
assigned_date = excluded.assigned_date,
requires_review = excluded.requires_review,
notes = excluded.notes
WHERE
    (language_code, language_status, confidence, assignment_method, requires_review, notes)
    IS NOT (
        excluded.language_code, excluded.language_status, excluded.confidence,
        excluded.assignment_method, excluded.requires_review, excluded.notes
    )
