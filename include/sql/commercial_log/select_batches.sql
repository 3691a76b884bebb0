-- Grain: one row per import batch, newest first. Reads: import_batches. Writes: nothing.
-- Params: :status (null for all), :last (how many). Re-run: read only.
SELECT
    batch_id,
    import_mode,
    status,
    import_date,
    completed_at,
    source_file,
    source_date,
    records_imported,
    records_deleted,
    rows_inserted,
    rows_removed,
    rows_rejected,
    broadcast_months_affected,
    started_by,
    error_summary
FROM import_batches
WHERE :status IS NULL OR status = :status
ORDER BY import_date DESC, rowid DESC
LIMIT :last
