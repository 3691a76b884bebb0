-- The days on which a type has rows (R60, R61).
-- Grain: one row per day, oldest first. Reads: the type's partitions. Writes: nothing.
-- Params: $files (paths), $date (the type's event date, a list of one column). Re-run: read only.
SELECT DISTINCT COLUMNS($date)::DATE AS day
FROM read_parquet($files, hive_partitioning = FALSE)
WHERE day IS NOT NULL
ORDER BY day
