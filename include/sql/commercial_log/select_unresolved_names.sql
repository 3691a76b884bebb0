-- Grain: one row per distinct bill code and market text among the spots of the months that lack an id, and which they lack.
-- Reads: spots. Writes: nothing. Params: :months (JSON array). Re-run: safe.
SELECT
    bill_code,
    market_name,
    max(customer_id IS NULL) AS lacks_customer,
    max(agency_id IS NULL) AS lacks_agency,
    max(market_id IS NULL) AS lacks_market
FROM spots
WHERE
    broadcast_month IN (SELECT value FROM json_each(:months))
    AND (customer_id IS NULL OR agency_id IS NULL OR (market_id IS NULL AND market_name IS NOT NULL))
GROUP BY bill_code, market_name
