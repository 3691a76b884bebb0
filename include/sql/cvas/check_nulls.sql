-- How many rows of one partition hold nothing in some columns (R61).
-- Grain: one row, one column for each of those asked for. Reads: the partition's files. Writes: nothing.
-- Params: $files (paths), $columns (names). Re-run: read only.
SELECT count(*) - count(COLUMNS($columns))
FROM read_parquet($files, hive_partitioning = FALSE)
