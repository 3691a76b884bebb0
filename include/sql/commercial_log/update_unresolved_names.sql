-- Grain: one spot. Fills ids that are still null, changes no other. Reads: nothing else. Writes: spots.
-- Params: positional customer_id, agency_id, market_id, spot_id. Re-run: safe.
UPDATE spots
SET
    customer_id = coalesce(customer_id, ?),
    agency_id = coalesce(agency_id, ?),
    market_id = coalesce(market_id, ?)
WHERE spot_id = ?
