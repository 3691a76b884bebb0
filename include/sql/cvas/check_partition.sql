-- What one partition holds (R61): rows, first and last event, how many events have no date or belong to another month.
-- Grain: one row. Reads: the partition's files. Writes: nothing.
-- Params: $files (paths), $date (the type's event date, a list of one column), $month (YYYY-MM, null for undated rows).
-- Re-run: read only.
SELECT
    count(*) AS n_rows,
    min(COLUMNS($date)) AS first_event,
    max(COLUMNS($date)) AS last_event,
    count(*) FILTER (WHERE COLUMNS($date) IS NULL) AS undated,
    count(*) FILTER (WHERE strftime(COLUMNS($date), '%Y-%m') IS DISTINCT FROM $month) AS misplaced
FROM read_parquet($files, hive_partitioning = FALSE)
