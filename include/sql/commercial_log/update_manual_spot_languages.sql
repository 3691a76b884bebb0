-- Grain: the given spots: their language follows the decision. Reads: nothing else. Writes: spots.language_id.
-- Params: :spot_ids (JSON array), :language_id. Re-run: safe.
UPDATE spots
SET language_id = :language_id
WHERE spot_id IN (SELECT value FROM json_each(:spot_ids)) AND language_id IS NOT :language_id
