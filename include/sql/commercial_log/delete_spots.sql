-- Grain: one spot.
-- Reads: nothing else. Writes: spots and, by cascade, its assignments. Params: positional spot_id. Re-run: safe.
DELETE FROM spots
WHERE spot_id = ?
