-- Grain: one row per closed month that no longer holds what it held when it was closed: spots, gross and net then and
-- now (US dollars). Reads: month_closure_totals, v_month_status. Writes: nothing. Params: :tolerance (US dollars).
-- Re-run: read only.
SELECT
    m.broadcast_month,
    c.spots,
    c.gross_sum,
    c.net_sum,
    m.spots,
    m.gross_sum,
    m.net_sum
FROM month_closure_totals AS c
INNER JOIN v_month_status AS m ON m.broadcast_month = c.broadcast_month
WHERE c.spots <> m.spots
    OR abs(c.gross_sum - m.gross_sum) > :tolerance
    OR abs(c.net_sum - m.net_sum) > :tolerance
ORDER BY m.month_start_date
