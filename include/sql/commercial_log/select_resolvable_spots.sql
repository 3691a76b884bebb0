-- Grain: one row per spot of the months that lacks a customer, agency or market which is known by now.
-- Reads: spots. Writes: nothing. Params, JSON arrays: :months; :customers and :agencies, the bill codes whose customer
-- or agency is known; :markets, the market texts that are known. Re-run: safe.
SELECT spot_id, bill_code, market_name
FROM spots
WHERE
    broadcast_month IN (SELECT value FROM json_each(:months))
    AND (
        (customer_id IS NULL AND bill_code IN (SELECT value FROM json_each(:customers)))
        OR (agency_id IS NULL AND bill_code IN (SELECT value FROM json_each(:agencies)))
        OR (market_id IS NULL AND market_name IN (SELECT value FROM json_each(:markets)))
    )
