-- Grain: one row per spot of the months that lacks its customer, agency or market, and what it has.
-- Reads: spots. Writes: nothing. Params: :months (JSON array). Re-run: safe.
SELECT spot_id, bill_code, market_name, customer_id, agency_id, market_id
FROM spots
WHERE
    broadcast_month IN (SELECT value FROM json_each(:months))
    AND (customer_id IS NULL OR agency_id IS NULL OR (market_id IS NULL AND market_name IS NOT NULL))
