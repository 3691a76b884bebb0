-- Grain: one row per spot of a month that has a market, a weekday and a readable time window.
-- Reads: spots, agencies. Writes: nothing. Params: month (`Mmm-YY`). Re-run: read only.
SELECT
    s.spot_id,
    s.bill_code,
    a.agency_name,
    s.revenue_type,
    s.language_code,
    s.market_id,
    s.air_date,
    s.day_of_week,
    s.time_in,
    s.time_out
FROM spots AS s
LEFT JOIN agencies AS a ON a.agency_id = s.agency_id
WHERE s.broadcast_month = :month
    AND s.market_id IS NOT NULL
    AND trim(s.day_of_week) <> ''
    AND s.time_in GLOB '[0-2][0-9]:[0-5][0-9]:[0-5][0-9]'
    AND s.time_out GLOB '[0-2][0-9]:[0-5][0-9]:[0-5][0-9]';
