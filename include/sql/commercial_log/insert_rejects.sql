-- Grain: one row per rejected row or warning of a batch.
-- Reads: nothing. Writes: import_rejects, before the load to outlive a rollback.
-- Params: positional, in the order of the columns. Re-run: once per batch.
INSERT INTO import_rejects (
    batch_id, source_file, severity, sheet, row_number, reason,
    column_header, raw_value, bill_code, gross_rate, created_at
)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
