-- Grain: one row per distinct bill code and market text among the spots of the months that lack an id for either.
-- Reads: spots. Writes: nothing. Params: :months (JSON array). Re-run: safe.
SELECT DISTINCT bill_code, market_name
FROM spots
WHERE
    broadcast_month IN (SELECT value FROM json_each(:months))
    AND (customer_id IS NULL OR agency_id IS NULL OR (market_id IS NULL AND market_name IS NOT NULL))
