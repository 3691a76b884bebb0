-- Grain: one row, the batch that begins. Reads: nothing. Writes: import_batches.
-- Params: :batch_id, :now (UTC), :mode, :source_file, :source_date, :source_sha256, :started_by.
-- Re-run: a new id per run.
INSERT INTO import_batches (
    batch_id, import_date, import_mode, source_file, source_date, source_sha256, status, started_by
)
VALUES (:batch_id, :now, :mode, :source_file, :source_date, :source_sha256, 'RUNNING', :started_by)
