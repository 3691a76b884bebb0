-- Grain: one assignment, a person's decision: it passes to the spot inserted last with the given row hash.
-- Reads: spots. Writes: spot_language_assignments. Params: positional row_hash, spot_id. Re-run: once per load.
UPDATE spot_language_assignments
SET spot_id = (
    SELECT max(heir.spot_id)
    FROM spots AS heir
    INNER JOIN spots AS gone ON gone.broadcast_month = heir.broadcast_month
    WHERE heir.row_hash = ?1 AND gone.spot_id = ?2
)
WHERE spot_id = ?2
