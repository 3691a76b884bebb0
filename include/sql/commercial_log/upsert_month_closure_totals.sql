-- Grain: one row: what a closed month holds now. Reads: spots. Writes: month_closure_totals.
-- Params: :month. Re-run: safe.
INSERT INTO month_closure_totals (broadcast_month, spots, gross_sum, net_sum)
SELECT :month, count(*), total(gross_rate), total(station_net)
FROM spots
WHERE broadcast_month = :month AND (revenue_type <> 'Trade' OR revenue_type IS NULL)
ON CONFLICT (broadcast_month) DO UPDATE SET
spots = excluded.spots,
gross_sum = excluded.gross_sum,
net_sum = excluded.net_sum
