-- The subscriptions whose events have changed. Grain: one row per subscription.
-- Reads: $files. Writes: touched, a table of this engine
-- alone. Params: $files, what the changes of the lake left. Re-run: once per engine.
CREATE TABLE touched AS
SELECT DISTINCT subscription_id
FROM read_parquet($files::VARCHAR [], hive_partitioning = FALSE)
