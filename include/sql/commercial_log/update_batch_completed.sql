-- Grain: one row, the batch that ends well.
-- Reads: nothing else. Writes: import_batches, inside the transaction of the load.
-- Params: :batch_id, :now (UTC) and the counters of the run. Re-run: one per batch.
UPDATE import_batches
SET
    status = 'COMPLETED',
    completed_at = :now,
    broadcast_months_affected = :months,
    records_imported = :records_imported,
    records_deleted = :records_deleted,
    rows_read = :rows_read,
    rows_filtered_closed = :rows_filtered_closed,
    rows_filtered_trade = :rows_filtered_trade,
    rows_rejected = :rows_rejected,
    rows_inserted = :rows_inserted,
    rows_removed = :rows_removed,
    rows_unchanged = :rows_unchanged,
    notes = :notes
WHERE batch_id = :batch_id
