-- Grain: one assignment, a person's decision: it passes to the spot inserted last with the given row hash.
-- Reads: spots. Writes: spot_language_assignments. Params: :row_hash, :spot_id. Re-run: once per load.
UPDATE spot_language_assignments
SET spot_id = (
    SELECT max(heir.spot_id)
    FROM spots AS heir
    INNER JOIN spots AS gone ON gone.broadcast_month = heir.broadcast_month
    WHERE heir.row_hash = :row_hash AND gone.spot_id = :spot_id
)
WHERE spot_id = :spot_id
