-- How many rows of one partition repeat another row's key, nulls being equal (R31, R61); every key holds the date, so
-- that rows of two partitions never have the same.
-- Grain: one row. Reads: the partition's files. Writes: nothing.
-- Params: $files (paths), $key (the type's key columns). Re-run: read only.
SELECT coalesce(sum(times - 1), 0)::BIGINT AS duplicates
FROM (
    SELECT
        COLUMNS($key),
        count(*) AS times
    FROM read_parquet($files, hive_partitioning = FALSE)
    GROUP BY ALL
    HAVING times > 1
) AS repeated_keys
