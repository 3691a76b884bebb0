-- Grain: the spots of the months with one bill code and market text. Fills ids that are still null, changes no other.
-- Writes: spots. Params: :months, :bill_code, :market_name, :customer_id, :agency_id, :market_id. Re-run: safe.
UPDATE spots
SET
    customer_id = coalesce(customer_id, :customer_id),
    agency_id = coalesce(agency_id, :agency_id),
    market_id = coalesce(market_id, :market_id)
WHERE
    broadcast_month IN (SELECT value FROM json_each(:months))
    AND bill_code = :bill_code
    AND market_name IS :market_name
    AND (
        (customer_id IS NULL AND :customer_id IS NOT NULL)
        OR (agency_id IS NULL AND :agency_id IS NOT NULL)
        OR (market_id IS NULL AND :market_id IS NOT NULL)
    )
