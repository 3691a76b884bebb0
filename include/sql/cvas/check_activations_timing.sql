-- How long counting the activations takes (R61).
-- Grain: one row. Reads: act. Writes: nothing. Params: none. Re-run: read only.
SELECT count(*) AS activations
FROM act
