-- Grain: the batches that did not end: the given one, or with :batch_id null every one still marked RUNNING.
-- Reads: nothing else.
-- Writes: import_batches. Params: :batch_id, :now (UTC), :error. Re-run: safe, ended batches are left alone.
UPDATE import_batches
SET status = 'FAILED', completed_at = :now, error_summary = :error
WHERE status = 'RUNNING' AND batch_id = coalesce(:batch_id, batch_id)
