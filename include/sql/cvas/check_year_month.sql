-- The type as which readers with Hive partitioning see the month of a row (R30, R61); it has to be text.
-- Grain: one row. Reads: the type's partitions. Writes: nothing.
-- Params: $pattern (recursive, as those readers use it). Re-run: read only.
-- NULL if no partition has a row.
SELECT any_value(typeof(year_month)) AS seen_as
FROM read_parquet($pattern, hive_partitioning = TRUE)
