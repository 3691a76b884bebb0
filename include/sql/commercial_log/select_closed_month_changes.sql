-- Grain: one row per closed month with spots that a later load put there or that are not marked historical.
-- A historical import may replace a closed month; no other load may. Reads: month_closures, spots, import_batches.
-- Writes: nothing. Params: none. Re-run: read only.
SELECT
    c.broadcast_month,
    count(*) FILTER (WHERE s.is_historical = 0) AS not_historical,
    count(*) FILTER (WHERE b.import_mode <> 'HISTORICAL' AND b.import_date > c.created_date) AS loaded_later
FROM month_closures AS c
INNER JOIN spots AS s ON s.broadcast_month = c.broadcast_month
LEFT JOIN import_batches AS b ON b.batch_id = s.import_batch_id
GROUP BY c.broadcast_month
HAVING not_historical > 0 OR loaded_later > 0
