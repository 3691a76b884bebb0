-- How many renewals of subscriptions a month holds and what they brought. Grain: one row.
-- Reads: $files. Writes: nothing.
-- Params: $files, the month's renewals. Re-run: read only.
SELECT
    count(subscription_id) AS renewals,
    coalesce(sum(rev::DECIMAL(18, 6)) FILTER (WHERE subscription_id IS NOT NULL), 0) AS revenue
FROM read_parquet($files::VARCHAR [], hive_partitioning = FALSE)
