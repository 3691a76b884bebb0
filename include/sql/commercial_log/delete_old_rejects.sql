-- Grain: the rejects and warnings of batches that began before the given moment; the batches themselves stay.
-- Reads: import_batches. Writes: import_rejects. Params: :before (UTC). Re-run: safe.
DELETE FROM import_rejects
WHERE batch_id IN (SELECT batch_id FROM import_batches WHERE import_date < :before)
